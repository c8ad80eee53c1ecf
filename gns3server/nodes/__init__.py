"""Nodes: their natures, states, types, NIOs and wires, and what is done to them.

A node knows its project only as ``ProjectBase``, and the machine that it runs on only as
``Machine``. No emulator comes in here: those are plugins, whose code is called with limits.
"""
