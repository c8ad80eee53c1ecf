"""Run a console server: python -m gns3server.consoles.console_server SOCKET_PATH."""

from __future__ import annotations

import gc
import sys

USAGE = "usage: python -m gns3server.consoles.console_server SOCKET_PATH"


def main() -> int:
    """Serve consoles until there is nothing to keep any more."""
    if len(sys.argv) != 2:
        print(USAGE, file=sys.stderr)
        return 2
    # Nothing here is encrypted: this process does not need the 5 MB that asyncio takes for that.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    # All that is ever needed is imported now: an upgrade of the server replaces the files.
    import asyncio
    import encodings.idna  # noqa: F401
    import resource
    import signal

    from gns3server.consoles.serving import serve

    # A terminal that hangs up, and a Ctrl-C meant for the server, do not end consoles.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.freeze()
    asyncio.run(serve(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
