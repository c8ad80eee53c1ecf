"""A server that builds, wires and runs network labs; every emulator is a plugin."""

__version__ = "0.1.0"
