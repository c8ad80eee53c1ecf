"""Where projects are: the index of all that are known, paths, moves, older layouts, leftovers.

What is in a project does not come in here, only which directory it has and what of that
directory is the server's to change or remove.
"""
