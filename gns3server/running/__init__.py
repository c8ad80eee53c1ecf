"""The machines that nodes run on: an interface, and the local one, which watches over its runs.

A run is known here by its id. Nothing here knows which node it belongs to, or what it emulates.
"""
