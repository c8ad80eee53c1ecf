"""The program: ``python -m gns3server_linux.holder CONTROL WANTED``.

CONTROL is the path of the unix socket to listen on once the node is up; WANTED is a file that says
what is wanted. Its terminal becomes the node's console.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import signal
import socket
import sys
import termios
from collections.abc import Mapping

from gns3server_linux.holder import inside
from gns3server_linux.holder.batch import Batch
from gns3server_linux.holder.control import Control
from gns3server_linux.holder.interface import Interface
from gns3server_linux.holder.loop import Loop
from gns3server_linux.holder.messages import Messages
from gns3server_linux.holder.namespaces import CannotBuild, build
from gns3server_linux.holder.wanted import Wanted, Wire, read_wires

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Holder:
    """The process outside.

    :param control: where it listens.
    """

    def __init__(self, control: str, wanted: Wanted) -> None:
        self._wanted = wanted
        ours, theirs = socket.socketpair()

        def begin_inside() -> None:
            ours.close()
            inside.main(theirs)

        pid, sockets = build(wanted.addresses, wanted.ip, begin_inside)
        theirs.close()
        if wanted.memory:
            # Most nodes have no limit.
            from gns3server_linux.holder import group

            try:
                group.take_in(group.make(wanted.group, wanted.memory), pid)
            except OSError as error:
                raise CannotBuild(f"its memory cannot be limited: {error}") from error
        self._inside = Messages(ours)
        self._loop = Loop()
        self._loop.attend(pid, lambda _: sys.exit("process 1 of the node has ended"))
        self._loop.add(ours.fileno(), self._told)
        batch = Batch()
        self._interfaces = [Interface(number, each, batch) for number, each in enumerate(sockets)]
        for interface in self._interfaces:
            self._loop.add(interface.inside.fileno(), interface.from_inside)
        handlers = {"wire": self._wire, "counters": self._counters, "save": self._save}
        self._control = Control(self._loop, control, handlers)

    def run(self) -> None:
        """Begin the node, and serve it until it ends.

        :raises OSError: a wire or the control socket cannot be used.
        """
        for number, why in self._plug(self._wanted.wires).items():
            raise OSError(f"eth{number} cannot be wired: {why}")
        self._inside.send({"do": "begin", "with": self._wanted.told()})
        self._loop.run()

    # From inside ------------------------------------------------------------------------

    def _told(self) -> None:
        messages = self._inside.receive()
        if messages is None:
            sys.exit("process 1 of the node has ended")
        for message in messages:
            if message["event"] == "up":
                self._control.listen()
            elif message["event"] == "failed":
                sys.exit(f"cannot run: {message['with']['why']}")
            else:
                self._control.tell(message["event"], message["with"])

    # From the server --------------------------------------------------------------------

    def _wire(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"failed": self._plug(read_wires(values["wires"]))}

    def _counters(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "adapter_number": each.number,
                "name": f"eth{each.number}",
                "wired": each.wire is not None,
                "received_frames": each.received,
                "sent_frames": each.sent,
                "lost_frames": each.lost,
            }
            for each in self._interfaces
        ]

    def _save(self, _: Mapping[str, Any]) -> None:
        if not self._wanted.daemons:
            raise ValueError("a host has no configuration to save")
        self._inside.send({"do": "save"})

    def _plug(self, wires: Mapping[int, Wire]) -> dict[str, str]:
        """Have the wires that are wanted; returns why some of them cannot be had."""
        for interface in self._interfaces:
            wire = wires.get(interface.number)
            # Former ports are given up before new ones are taken: they may be the same.
            plugged = interface.wire
            if plugged is not None and (wire is None or wire.tunnel != plugged.tunnel):
                self._unplug(interface)
        failed = {}
        for number, wire in wires.items():
            interface = self._interfaces[number]
            is_new = interface.wire is None
            try:
                opened = interface.plug(wire)
            except OSError as error:
                failed[str(number)] = error.strerror or str(error)
                continue
            if is_new:
                self._loop.add(opened.fileno(), interface.from_outside)
        for interface in self._interfaces:
            if interface.wire is None:
                interface.unplug()
        return failed

    def _unplug(self, interface: Interface) -> None:
        if interface.outside is not None:
            self._loop.remove(interface.outside.fileno())
        interface.unplug()


def main() -> None:
    """Run, until a signal or the end of the node ends it."""
    control, path = sys.argv[1:]
    # A terminal that goes away, and keys on it, end no node.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with open(path, encoding="utf-8") as file:
        wanted = Wanted.read(json.load(file))
    if os.isatty(0):
        # The shell will have it: a terminal belongs to one session.
        fcntl.ioctl(0, termios.TIOCNOTTY)
    # Nothing here refers to itself: frames need no garbage collection, which would delay them, and
    # both processes share what neither of them touches.
    gc.disable()
    gc.freeze()
    try:
        holder = Holder(control, wanted)
        holder.run()
    except (OSError, ValueError, CannotBuild) as error:
        sys.exit(f"cannot run: {error}")


if __name__ == "__main__":
    main()
