"""Fuzzes a server through its API document. Arguments are handed on to schemathesis.

The server is one as people start it: not local, with all plugins that are installed, in a home of
its own. What is sent and what is checked stands in schemathesis.toml beside this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gns3server.testing import TEST_VARIABLE, PortBlock, claimed_ports, marks, processes_of

CONFIG = Path(__file__).with_name("schemathesis.toml")
LIMIT = 30
"""Seconds that the server may take to come up, and to end."""


def environment(home: str, ports: PortBlock) -> dict[str, str]:
    """The environment of a server that shares nothing with any other."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "GNS3_"))
    }
    return {
        **inherited,
        "HOME": home,
        **marks(uuid.uuid4().hex),
        "GNS3_SERVER_STATE_PATH": f"{home}/state",
        "GNS3_SERVER_PORT": str(ports.last),
        "GNS3_SERVER_CONSOLE_START_PORT_RANGE": str(ports.first),
        "GNS3_SERVER_CONSOLE_END_PORT_RANGE": str(ports.last - 1),
        "GNS3_SERVER_UDP_START_PORT_RANGE": str(ports.first),
        "GNS3_SERVER_UDP_END_PORT_RANGE": str(ports.last - 1),
        "GNS3_SERVER_STRICT_PLUGINS": "yes",
        "PYTHONHASHSEED": "0",  # sets are walked in the same order, as the seed alone cannot see to
    }


@contextmanager
def serving(log: Path, environ: dict[str, str]) -> Iterator[None]:
    """A server that runs while the context lasts, and ends as it should.

    :raises RuntimeError: it did not, or left a process behind.
    """
    command = [sys.executable, "-m", "gns3server", "--log", str(log)]
    with subprocess.Popen(command, cwd=log.parent, env=environ) as server:
        try:
            yield
        finally:
            server.terminate()
            try:
                code = server.wait(LIMIT)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
    left = processes_of(environ[TEST_VARIABLE])
    if code or left:
        raise RuntimeError(f"the server ended with {code} and left {left or 'no process'}")


def main(arguments: list[str]) -> int:
    """Fuzz a server; returns the exit code of schemathesis."""
    with TemporaryDirectory() as home, claimed_ports() as ports:
        log = Path(home, "server.log")
        environ = environment(home, ports)
        document = f"http://127.0.0.1:{ports.last}/v1/openapi.json"
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
        # Where a name that may hold slashes stands before another word, hardly anything fits.
        command += ["--suppress-health-check", "filter_too_much"]
        command += ["--wait-for-schema", str(LIMIT), *arguments, document]
        with serving(log, environ):
            code = subprocess.run(command, cwd=home, env=environ, check=False).returncode
        if code:
            print(f"The end of the server's log:\n{log.read_text()[-5000:]}", flush=True)
        return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
