"""The program of one switch or hub: it forwards frames between UDP sockets, one for each port.

It runs by itself, and goes on whatever becomes of the server. The server tells it what its ports
are through a unix socket.
"""
