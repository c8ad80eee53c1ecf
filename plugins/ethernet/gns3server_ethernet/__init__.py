"""Ethernet switches and hubs.

``plugin`` has the hooks. ``switch`` is the program that each node runs: it imports nothing of the
server, and nothing is imported here, so that it stays small.
"""
