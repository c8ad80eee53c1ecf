"""Nodes that are no emulator with a console: each says what it was called for.

It says so by events of its own: ``natures.start`` with the node's name, for instance.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from gns3server.plugin import (
    Conflict,
    LaunchSpec,
    Nio,
    NioType,
    Node,
    NodeCreateSchema,
    NodeObjectSchema,
    NodeState,
    NodeType,
    NodeUpdateSchema,
    Port,
    ProcessNode,
    hookimpl,
    port_field,
)

LISTENER = """
import os, signal, socket, sys
if sys.argv[2] == "idle":
    signal.pause()
cables = {}
def wire(lports):
    for lport in [*cables]:
        if lport not in lports:
            cables.pop(lport).close()
    for lport in lports:
        if lport not in cables:
            cables[lport] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            cables[lport].bind(("127.0.0.1", int(lport)))
wire(sys.argv[3:])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
if sys.argv[2] == "deaf":
    signal.pause()
listener.listen()
while True:
    client, _ = listener.accept()
    with client:
        word, *lports = client.recv(4096).decode().split() or [""]
        if word == "quit":
            sys.exit(0)
        if word == "wire":
            wire(lports)
            client.sendall(b"done")
"""
"""Binds its cables and listens on a unix socket, unless it is idle or deaf. It ends when somebody
says ``quit`` there; ``wire`` and UDP ports give it other cables.
"""


class CreateSchema(NodeCreateSchema):
    """A new node."""

    note = fields.String(load_default="")
    sockets = fields.Integer(load_default=4)


class UpdateSchema(NodeUpdateSchema):
    """What can be changed."""

    note = fields.String()
    sockets = fields.Integer()


class ObjectSchema(NodeObjectSchema):
    """A node."""

    note = fields.String(required=True)
    sockets = fields.Integer(required=True)


class NioCableSchema(Schema):
    """A wire with a port of this machine."""

    lport = port_field(required=True, metadata={"example": 30000})


class ReticentSchema(ObjectSchema):
    """A node that does not say whether it is started."""

    class Meta:
        """Clients of such nodes find it in the list of all nodes."""

        exclude = ("state",)


class Talker(Node):
    """Says what it was called for."""

    async def say(self, word: str, **values: Any) -> None:
        """Tell an event."""
        await self.project.publish(f"natures.{word}", {"name": self.name, **values})

    @property
    def ports(self) -> int:
        """As many as the node was given."""
        return int(self.properties["sockets"])

    async def created(self) -> None:
        """Say so."""
        await self.say("created")

    async def adopted(self) -> None:
        """Say so, unless that is to fail."""
        await self.say("adopted")
        if self.properties["note"] == "lost":
            raise Conflict("The box is not there any more.")

    async def deleted(self) -> None:
        """Say so."""
        await self.say("deleted")

    async def updated(self) -> None:
        """Say so, unless that is to fail."""
        await self.say("updated", note=self.properties["note"])
        if self.properties["note"] == "stuck":
            raise Conflict(f"VM {self.name!r} is stuck: it has its new note from its next start.")

    async def wire_changing(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Say so, and refuse what the note says."""
        await self.say("wire_changing", port=port, plugged=nio is not None)
        sealed = self.properties["note"] == "sealed" and self.state is NodeState.STARTED
        if sealed or self.properties["note"] == "fixed":
            raise Conflict(f"The wires of VM {self.name!r} are fixed.")

    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Say so."""
        await self.say("wire_changed", port=port, nios=len(self.nios))


class Box(Talker):
    """A physical box: nothing runs here."""

    async def start(self) -> None:
        """Say so, unless there is no power."""
        if self.properties["note"] == "no power":
            raise Conflict(f"VM {self.name!r} has no power: plug it in.")
        await self.say("start", state=self.state.value)

    async def stop(self) -> None:
        """Say so."""
        await self.say("stop", state=self.state.value)

    async def suspend(self) -> None:
        """Say so."""
        await self.say("suspend")

    async def resume(self) -> None:
        """Say so."""
        await self.say("resume")


class Tower(Talker, ProcessNode):
    """A process without a console, known by its unix socket."""

    async def launch_spec(self) -> LaunchSpec:
        """It listens, or is deaf."""
        path, lports = str(self.runtime_directory / "monitor"), self.lports
        return LaunchSpec(
            argv=(sys.executable, "-c", LISTENER, path, self.properties["note"], *map(str, lports)),
            cwd=str(self.directory),
            ports=tuple(Port("udp", lport) for lport in lports),
            sockets=(path,),
            ready_limit=0.5 if self.properties["note"] == "deaf" else 30,
        )

    @property
    def lports(self) -> list[int]:
        """The UDP ports of its cables."""
        return [nio.values["lport"] for nio in self.nios.values()]

    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Say so, and change the cables of the process, unless that is frozen."""
        await super().wire_changed(adapter, port, nio)
        if self.state is NodeState.STARTED:
            await self.rewire()

    async def rewire(self) -> None:
        """Give the process the cables that the node has now."""
        path = self.runtime_directory / "monitor"
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(" ".join(["wire", *map(str, self.lports)]).encode())
        if await reader.read() != b"done":
            raise Conflict(f"VM {self.name!r} could not be rewired: reload it.")
        writer.close()
        await writer.wait_closed()

    async def suspend(self) -> None:
        """Freeze the process."""
        if self.run is not None:
            await self.run.signal(signal.SIGSTOP)

    async def resume(self) -> None:
        """Let it go on, with the cables that it has now."""
        if self.run is not None:
            await self.run.signal(signal.SIGCONT)
            await self.rewire()

    async def shut_down(self, deadline: float) -> None:
        """Say so."""
        await self.say("shut_down")


class Lathe(Tower):
    """The same, with a button that makes it begin anew."""

    async def ready(self) -> None:
        """Refuse what the note says, or find its program ended."""
        if self.properties["note"] == "unoiled":
            raise Conflict(f"VM {self.name!r} is not oiled: oil it.")
        if self.properties["note"] == "broken":
            _, writer = await self.machine.connect(str(self.runtime_directory / "monitor"))
            writer.write(b"quit")
            writer.close()
            raise Conflict(f"VM {self.name!r} does not turn.")

    async def reset(self) -> None:
        """Say so, unless the button is stuck."""
        if self.properties["note"] == "stuck":
            raise Conflict(f"The button of VM {self.name!r} is stuck: pull it out.")
        await self.say("reset", state=self.state.value)


def node_type(name: str, node_class: type[Node], **values: Any) -> NodeType:
    """A type of this plugin."""
    schema = values.pop("object_schema", ObjectSchema)
    return NodeType(
        name=name,
        title=name,
        node_class=node_class,
        create_schema=CreateSchema,
        update_schema=UpdateSchema,
        object_schema=schema,
        nio_types=("nio_cable",),
        adapters=None,
        console=False,
        **values,
    )


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """One number."""
    return Schema.from_dict({"number": fields.Integer(load_default=1)})


@hookimpl
def gns3_node_types(config: Mapping[str, Any]) -> list[NodeType]:
    """One of each nature; names of types are free."""
    return [
        node_type("box", Box, capabilities=frozenset({"suspend"})),
        node_type("tower", Tower, capabilities=frozenset({"suspend"})),
        node_type("ethernet_switch", Talker, lifecycle="always_on"),
        node_type("beacon", Tower, lifecycle="always_on"),
        node_type(
            "lathe",
            Lathe,
            capabilities=frozenset({"suspend", "reset"}),
            object_schema=ReticentSchema,
        ),
    ]


@hookimpl
def gns3_nio_types() -> list[NioType]:
    """A cable."""
    return [NioType(name="nio_cable", schema=NioCableSchema, local_udp_port="lport")]
