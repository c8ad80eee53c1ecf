"""A whole emulator for tests: a Python process with a console and a wire.

What it does wrong is told by ``mode``; see :data:`PROGRAM`.
"""

from __future__ import annotations

import sys

from marshmallow import Schema, fields

from gns3server.plugin import (
    Call,
    Conflict,
    LaunchSpec,
    NioType,
    NodeCreateSchema,
    NodeObjectSchema,
    NodeType,
    NodeUpdateSchema,
    Port,
    ProcessNode,
    Route,
    Scope,
    hookimpl,
    name_field,
    port_field,
)

PROGRAM = r"""
import os, signal, socket, sys
mode, console, lports = sys.argv[1], int(sys.argv[2]), map(int, sys.argv[3:])
print("toy", mode, "comes up", flush=True)
if mode == "exit":
    sys.exit("the toy exits at once")
if mode == "ignores-term":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "never":
    signal.pause()
if mode.startswith("forks"):
    mode = mode.partition(",")[2] or "good"
    if os.fork() == 0:
        signal.pause()
if mode.startswith("reports-term:"):
    def report(*_):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        socket.create_connection(("127.0.0.1", int(mode[13:]))).close()
    signal.signal(signal.SIGTERM, report)
if mode.startswith("assassin:") and os.path.exists(mode[9:]):
    os.unlink(mode[9:])
    os.kill(os.getppid(), signal.SIGKILL)
if mode.startswith("gated:"):
    gate = socket.create_connection(("127.0.0.1", int(mode[6:])))
    gate.recv(1)
wires = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in sys.argv[3:]]
for wire, lport in zip(wires, lports):
    wire.bind(("0.0.0.0", lport))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", console))
listener.listen(5)
while True:
    client, _ = listener.accept()
    if mode == "crash-on-connect":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "quit-on-connect":
        sys.exit(0)
    client.sendall(b"toy console\r\n")
    client.close()
"""
"""Modes: ``exit`` at once with an error, ``never`` becomes ready, ``ignores-term``,
``gated:N`` connects to port N and waits there, ``reports-term:N`` connects there at the first
TERM and goes on, ``forks`` has a second process (``forks,MODE`` for both), ``assassin:FILE``
kills the server that has started it if the file exists, once, and two ways to end when a
client connects to the console."""


class ToyCreateSchema(NodeCreateSchema):
    """A new toy."""

    mode = fields.String(load_default="good")
    note = fields.String(allow_none=True)


class ToyUpdateSchema(NodeUpdateSchema):
    """What of a toy can be changed."""

    mode = fields.String(allow_none=True)
    note = fields.String(allow_none=True)


class ToyObjectSchema(NodeObjectSchema):
    """A toy."""

    mode = fields.String(required=True)
    note = fields.String()


class ToyNode(ProcessNode):
    """Runs :data:`PROGRAM`."""

    async def launch_spec(self) -> LaunchSpec:
        """A console, and a wire for each NIO."""
        if self.properties["mode"] == "unwired" and self.nio() is None:
            raise Conflict(f"VM {self.name!r} must be connected in order to start.")
        lports = [nio.values["lport"] for nio in self.nios.values()]
        return LaunchSpec(
            argv=(
                sys.executable,
                "-c",
                PROGRAM,
                self.properties["mode"],
                str(self.console),
                *map(str, lports),
            ),
            cwd=str(self.directory),
            ports=(Port("tcp", self.console), *(Port("udp", lport) for lport in lports)),
            stop_limit=30 if self.properties["mode"].startswith("reports-term") else 0.5,
            children=int(self.properties["mode"].startswith("forks")),
        )


class NioUdpSchema(Schema):
    """A wire of toys, shaped as the contract's."""

    lport = port_field(required=True)
    rhost = name_field(required=True)
    rport = port_field(required=True)


class NioOtherSchema(Schema):
    """A NIO that no toy takes."""


async def allocate(call: Call) -> dict[str, int]:
    """Reserve a UDP port."""
    return {"udp_port": await call.project.allocate_udp_port()}


class UdpPortSchema(Schema):
    """A reserved port."""

    udp_port = port_field(required=True)


@hookimpl
def gns3_node_types() -> list[NodeType]:
    """The toy, three of which fit into a project when numbered."""
    return [
        NodeType(
            name="toy",
            title="toy",
            node_class=ToyNode,
            create_schema=ToyCreateSchema,
            update_schema=ToyUpdateSchema,
            object_schema=ToyObjectSchema,
            nio_types=("nio_udp",),
            adapters=2,
            ports=2,
            numbers=range(25),
            udp_companions=(9,),
        )
    ]


@hookimpl
def gns3_nio_types() -> list[NioType]:
    """One NIO that toys take and one that they do not."""
    return [
        NioType(
            name="nio_udp",
            schema=NioUdpSchema,
            local_udp_port="lport",
            remote_host="rhost",
            remote_udp_port="rport",
        ),
        NioType(name="nio_other", schema=NioOtherSchema),
    ]


@hookimpl
def gns3_routes() -> list[Route]:
    """The port allocation route of the contract, in a path of its own."""
    return [
        Route(
            method="POST",
            path="/v1/projects/{project_id}/ports/toy",
            handler=allocate,
            summary="Reserve a UDP port",
            answer=UdpPortSchema,
            status=201,
            scope=Scope.PROJECT,
            errors={409: "No port is free", 507: "The records cannot be written"},
            tag="toy",
        )
    ]
