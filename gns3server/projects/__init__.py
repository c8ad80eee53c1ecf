"""Projects: opening, changing, moving, closing and deleting them, with the nodes in them.

HTTP does not come in here. Where projects are is in ``places``, how they are stored in
``storage``, what a node does in ``nodes``.
"""
