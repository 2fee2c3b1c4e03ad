"""How the work is done: each function is called in a process of its own, sets up, and returns the call to be timed.

A module for a peer imports nothing of the package: it runs in that peer's environment.
"""
