"""Machines that nodes run on, and the local one: runs spawned, ready, watched, stopped, adopted.

A run is known by its id here. Which node it belongs to, and what its program is, stays outside.
"""
