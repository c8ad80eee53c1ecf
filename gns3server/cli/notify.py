"""Tells a service manager when the server is ready and when it ends (sd_notify(3))."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(environ: Mapping[str, str], state: str) -> None:
    """Send a state to the socket that the service manager has named, if it has.

    :param environ: the environment that the server was started with.
    :param state: :data:`READY` or :data:`STOPPING`.
    """
    name = environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return
    # A socket in the abstract namespace (unix(7)) is written with @ for its first byte.
    address = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # A manager that does not read is not waited for.
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("the service manager at %s was not told %s: %s", name, state, error)
