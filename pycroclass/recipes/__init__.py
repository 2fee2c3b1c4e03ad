"""Recipes: what to do with files, as YAML, and how many files are worked through so that nothing is lost."""
