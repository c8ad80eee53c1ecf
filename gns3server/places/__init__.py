"""Where projects are: the index of all known ones, paths, moves, older layouts, leftovers.

What is in a project does not come in here, only which directory it has and what the server
may change or remove in that directory.
"""
