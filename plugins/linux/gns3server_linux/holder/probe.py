"""``python -m gns3server_linux.holder.probe IP``: whether this user can have nodes here.

Tries all that a node needs, and prints one line: :data:`WORKS` and how, or what is missing and the
command that helps.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

from gns3server_linux.holder import files, inside, kernel
from gns3server_linux.holder.namespaces import CannotBuild, build
from gns3server_linux.holder.wanted import WORKS

ADDRESS = "02:00:00:00:00:01"


def main() -> None:
    """Try, and say what came of it."""
    ip = sys.argv[1]
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as home:
        try:
            said = try_node(ip, home)
        except CannotBuild as error:
            said = str(error)
    if said == "well":
        print(WORKS + ("of root" if root else "of a user namespace"))
    else:
        print(f"namespaces cannot be had: {said}. {advice(root)}")


def try_node(ip: str, home: str) -> str:
    """Make a node that ends at once; says what it has found.

    :raises CannotBuild: it could not even be made.
    """
    ours, theirs = socket.socketpair()

    def work() -> None:
        ours.close()
        theirs.recv(1)
        try:
            files.prepare(home, "probe", router=False)
            inside.switch_on("eth0")
            theirs.send(b"well")
        except OSError as error:
            theirs.send(kernel.reason(error).encode())

    with ours, theirs:
        pid, sockets = build((ADDRESS,), ip, work)
        theirs.close()
        ours.send(b"1")
        said = ours.recv(4096).decode()
        # Not before: the interfaces go with the last of them.
        for each in sockets:
            each.close()
        os.waitpid(pid, 0)
    return said or "process 1 of a node has been killed"


def advice(root: bool) -> str:
    """What may help."""
    if root:
        return "In a container, give it the capabilities SYS_ADMIN and NET_ADMIN"
    for name, wanted in (
        ("kernel.unprivileged_userns_clone", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0"),
    ):
        found = Path("/proc/sys", *name.split("."))
        if found.exists() and found.read_text().strip() != wanted:
            return f"Allow user namespaces: sudo sysctl -w {name}={wanted}"
    if Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0":
        return "Allow user namespaces: sudo sysctl -w user.max_user_namespaces=15000"
    return "Run the server as root, or where ordinary users may have user namespaces"


if __name__ == "__main__":
    main()
