"""The program that holds a node: its namespaces, its wires, and whatever runs inside.

It is two processes. The *holder* stays outside, where the UDP ports of wires are; it moves frames,
and the server talks to it. *Inside* is process 1 of the node: it prepares the node's files and
interfaces, and is the parent of the shell and the daemons. When one of the two ends, so does the
node. Nothing of the server may be imported here, and of Python little: each node has it in memory
twice. So ``typing`` is imported by type checkers only.
"""
