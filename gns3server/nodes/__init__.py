"""Nodes: their kinds, states, types, NIOs and wires, and the operations on them.

A node knows its project only as ``ProjectBase``, and the machine that it runs on only as
``Machine``. No emulator is known here: those are plugins, whose code is called with limits.
"""
