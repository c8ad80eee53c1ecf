"""The link panel: a process that relays the frames of links, filters and captures them.

``python -m gns3server.links.panel SOCKET`` listens on a unix socket, as ``running/control.py``
describes, and does what the call ``state`` says. It outlives the server, so it imports everything
at its start, and little: an upgrade replaces its files under it.
"""
