"""Nodes: their natures, states, types, NIOs and wires.

A node knows the project that it belongs to only as ``ParentProject``, and the machine that it
runs on only as ``Machine``. No emulator comes in here: those are plugins.
"""
