"""Plugins: finding, checking and calling them, in limited time, their failures kept apart.

The only room that calls a hook. What a plugin offers is handed to the rooms that use it.
"""
