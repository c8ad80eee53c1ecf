"""Linux hosts and FRR routers, each in network and other namespaces of its own.

``plugin`` has the hooks. ``holder`` is the program that each node runs: it imports nothing of the
server, and nothing is imported here, so that it stays small.
"""
