"""Running programs on this machine: spawned, ready, watched, stopped, adopted.

A run is known by its id here. Which node it belongs to, and what its program is, stays outside.
"""
