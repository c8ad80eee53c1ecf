"""The program of a switch or hub by itself, and hosts that are wired to it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gns3server_ethernet.switch.wanted import Wanted, WantedPort, Wire

LOOPBACK = "127.0.0.1"
EVERYBODY = b"\xff" * 6
IPV4 = bytes.fromhex("0800")


def mac(number: int) -> bytes:
    """An address of a host."""
    return b"\x02\x00\x00\x00" + number.to_bytes(2, "big")


def tag(vlan: int, ethertype: str = "8100") -> bytes:
    """A VLAN tag."""
    return bytes.fromhex(ethertype) + vlan.to_bytes(2, "big")


def frame(to: bytes, source: bytes, *tags: bytes, text: bytes = b"hello") -> bytes:
    """A frame of 64 bytes or more."""
    return to + source + b"".join(tags) + IPV4 + text.ljust(50, b".")


class Host:
    """The other end of a wire, of a port with the same number."""

    def __init__(self, number: int, port: int = 0) -> None:
        self.number = number
        self.mac = mac(number)
        self.sent = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, port))
        self.socket.setblocking(False)

    def close(self) -> None:
        """Go away."""
        self.socket.close()

    @property
    def port(self) -> int:
        """Where it is."""
        return int(self.socket.getsockname()[1])

    def send(self, *frames: bytes) -> None:
        """Send frames to the switch."""
        for one in frames:
            self.socket.send(one)
            self.sent += 1

    def received(self) -> list[bytes]:
        """All that has come, and was not looked at before."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536))
            except BlockingIOError:
                return found
            except ConnectionRefusedError:
                continue


class Program:
    """A running program. Its ports are wired to hosts of the same numbers."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        wanted: Wanted,
        hosts: Sequence[Host],
        log: Path,
    ) -> None:
        self.process = process
        self.path: str = control.getpeername()
        self.log = log.read_bytes
        self.wanted = wanted
        self.hosts = hosts
        self._control = control
        self._lines = control.makefile("rb")
        self.greeting = self.line()

    def line(self) -> Any:
        """The next line of its control socket."""
        return json.loads(self._lines.readline())

    def write(self, data: bytes) -> None:
        """Send something to its control socket."""
        self._control.sendall(data)

    def call(self, name: str, values: Mapping[str, Any] | None = None) -> Any:
        """Have it do something."""
        self.write(json.dumps({"call": name, "id": 1, "with": values}).encode() + b"\n")
        answer = self.line()
        assert answer["id"] == 1, answer
        assert "error" not in answer, answer
        return answer["result"]

    def configure(self, **changed: Any) -> dict[str, str]:
        """Have it become something else; returns the wires that have failed."""
        self.wanted = self.wanted._replace(**changed)
        failed: dict[str, str] = self.call("configure", self.wanted.told())["failed"]
        return failed

    def counters(self, number: int) -> dict[str, Any]:
        """What a port has counted."""
        (found,) = (port for port in self.call("counters") if port["port_number"] == number)
        return dict(found)

    def settle(self) -> None:
        """Wait until it has dealt with all that the hosts have sent."""
        for host in self.hosts:
            while self.counters(host.number)["received_frames"] < host.sent:
                pass

    def received(self) -> list[list[bytes]]:
        """What each host has got, once everything sent is dealt with."""
        self.settle()
        return [host.received() for host in self.hosts]

    def addresses(self) -> list[tuple[int, str, int]]:
        """The addresses that it knows: VLAN, address and port."""
        return [
            (one["vlan"], one["mac_address"], one["port_number"]) for one in self.call("addresses")
        ]

    def close(self) -> None:
        """Hang up, and end it."""
        self._lines.close()
        self._control.close()
        self.process.kill()
        self.process.wait()


def free_ports(count: int) -> list[int]:
    """UDP ports that nobody has bound."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            probe.bind((LOOPBACK, 0))
            found.append(probe.getsockname()[1])
        return found


@contextmanager
def running(
    directory: Path,
    kind: str = "switch",
    ports: Sequence[Mapping[str, Any]] = ({}, {}, {}),
    *,
    name: str = "SW",
    ageing: float = 300,
    flood_limit: int = 100_000,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Program]:
    """Run the program, with a host at each of its ports.

    :param ports: what is special about each.
    """
    hosts = [Host(number) for number in range(len(ports))]
    lports = free_ports(len(ports))
    for host, lport in zip(hosts, lports, strict=True):
        host.socket.connect((LOOPBACK, lport))
    wanted = Wanted(
        name=name,
        ageing=ageing,
        flood_limit=flood_limit,
        ports=tuple(WantedPort(number, f"e{number}", **each) for number, each in enumerate(ports)),
        wires={host.number: Wire(lports[host.number], LOOPBACK, host.port) for host in hosts},
    )
    file, control = directory / f"{name}.json", str(directory / name)
    file.write_text(json.dumps(wanted.told()))
    command = [sys.executable, "-P", "-m", "gns3server_ethernet.switch", kind, control, str(file)]
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=output)
    try:
        while (connection := connect(control)) is None:
            assert process.poll() is None, log.read_text()
        program = Program(process, connection, wanted, hosts, log)
        try:
            yield program
            assert process.poll() is None, log.read_text()
        finally:
            program.close()
    finally:
        process.kill()
        process.wait()
        for host in hosts:
            host.close()


def connect(path: str) -> socket.socket | None:
    """Connect to a unix socket, if somebody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection
