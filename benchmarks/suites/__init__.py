"""What is measured: groups of cases that do the same work."""
