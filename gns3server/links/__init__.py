"""Links: wires between two ports, as objects of their own; their filters and captures.

Frames never pass through the server. What must stand between two ends is done by a process of its
own, the link panel in ``panel/``, which imports nothing else of the server but what is below here.
No emulator is known here, and nothing here knows HTTP.
"""
