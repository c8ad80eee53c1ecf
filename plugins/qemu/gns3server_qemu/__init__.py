"""Virtual machines: QEMU as a node type.

``plugin`` has the hooks, ``node`` what happens in a node's life. The other modules do one thing
each and know no node: they find programs, make disks, build the command line, speak QMP.
"""
