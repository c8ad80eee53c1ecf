"""Runs with an owner, and helpers: processes of the server's own that outlive it.

What is run for a node, a project or the server comes here: on record before it is started, ready or
undone, adopted after a crash. What the owner is, or does, does not.
"""
