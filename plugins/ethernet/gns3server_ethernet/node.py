"""Switches and hubs as nodes: each runs the program of ``gns3server_ethernet.switch``."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from gns3server.plugin import (
    Change,
    Conflict,
    Console,
    HelperClient,
    HelperFailed,
    LaunchSpec,
    Machine,
    Nio,
    NodeState,
    Port,
    ProcessNode,
    Unavailable,
)
from gns3server_ethernet.switch.control import KIND, PROTOCOL
from gns3server_ethernet.switch.wanted import TAG_TYPE, Wanted, WantedPort, Wire

log = logging.getLogger(__name__)

WANTED = "wanted.json"
"""What the program is to be at its start, in the node's directory."""


class EthernetNode(ProcessNode):
    """A switch or a hub: always on, and changed while it runs."""

    kind: ClassVar[str]
    limit: ClassVar[str]
    """The setting that says how many frames a second may be flooded."""

    _client: HelperClient | None = None
    _attending: asyncio.Task[None] | None = None

    # What it is ------------------------------------------------------------------------

    @property
    def mapping(self) -> dict[int, Mapping[str, Any]]:
        """Its ports by number."""
        return {port["port_number"]: port for port in self.properties["ports_mapping"]}

    @property
    def ports(self) -> int:
        """One more than the highest number of a port: there may be gaps."""
        return max(self.mapping) + 1

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Keep the ports, unless one is there twice, or one goes away that is wired."""
        change = await super().prepare(values)
        mapping = change.properties.get("ports_mapping")
        if mapping is not None:
            for what in ("port_number", "name"):
                ((most, count),) = Counter(port[what] for port in mapping).most_common(1)
                if count > 1:
                    raise Conflict(
                        f"Nothing of VM {self.name!r} was changed: the "
                        f"{what} {most!r} is in its mapping twice. Leave one out."
                    )
            left = {port["port_number"] for port in mapping}
            lost = sorted(port for _, port in self.nios if port not in left)
            if lost:
                raise Conflict(
                    f"Nothing of VM {self.name!r} was changed: its ports "
                    f"{', '.join(map(str, lost))} would go away, and are wired. Unplug them first."
                )
        return change

    async def wanted(self) -> Wanted:
        """What its program is to be.

        :raises Conflict: the host at the end of a wire has no address.
        """
        settings = self.settings
        return Wanted(
            name=self.name,
            ageing=settings["mac_ageing"],
            flood_limit=settings[self.limit],
            ports=tuple(
                WantedPort(
                    number,
                    port["name"],
                    **{name: port[name] for name in ("type", "vlan") if name in port},
                    ethertype=port.get("ethertype") or TAG_TYPE,
                )
                for number, port in self.mapping.items()
            ),
            wires={
                port: Wire(
                    nio.values["lport"],
                    await self.machine.resolve_ipv4(nio.values["rhost"]),
                    nio.values["rport"],
                )
                for (_, port), nio in self.nios.items()
            },
        )

    # Its life --------------------------------------------------------------------------

    @property
    def control(self) -> str:
        """The path of its program's unix socket."""
        return str(self.runtime_directory / "control")

    async def launch_spec(self) -> LaunchSpec:
        """The program, with its wires."""
        wanted = await self.wanted()
        return LaunchSpec(
            # Nothing is imported from the directory that it runs in: users can write there.
            argv=(
                await self.find_program(sys.executable),
                "-P",
                "-m",
                "gns3server_ethernet.switch",
                self.kind,
                self.control,
                WANTED,
            ),
            cwd=str(self.directory),
            files={WANTED: json.dumps(wanted.told()).encode()},
            ports=udp_ports(wanted),
            sockets=(self.control,),
            console=Console(port=self.console),
        )

    async def start(self) -> None:
        """Start the program, and listen to it."""
        await super().start()
        await self._connect()

    async def adopted(self) -> None:
        """Have the program of an earlier server be what is wanted by now."""
        await self._apply()

    async def updated(self) -> None:
        """Have the program be what is wanted by now."""
        if self.run is not None:
            await self._apply()

    async def wire_changing(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Refuse a wire at a port that is not there, or with a UDP port that cannot be bound."""
        if nio is None:
            return
        if port not in self.mapping:
            raise Conflict(f"{self.title} has no port {port}: its mapping leaves it out.")
        lport = nio.values["lport"]
        for (_, other), plugged in self.nios.items():
            if other != port and plugged.values["lport"] == lport:
                raise Conflict(
                    f"UDP port {lport} is in use by port {other} of {self.title}: choose another."
                )
        if self.run is None or Port("udp", lport) in self.run.spec.ports:
            return
        if not await self.machine.can_bind("UDP", lport):
            raise Conflict(
                f"UDP port {lport} is in use by another process of the machine: choose another."
            )

    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Plug in, or unplug, while it runs."""
        if self.run is not None:
            await self._apply()

    async def settle(self) -> None:
        """Hang up when the program has ended."""
        await super().settle()
        if self.run is None:
            self._hang_up()

    async def stop(self) -> None:
        """Stop the program."""
        self._hang_up()
        await super().stop()

    async def leave(self) -> None:
        """Let the program run on."""
        self._hang_up()
        await super().leave()

    # Talking to its program --------------------------------------------------------------

    async def ask(self, call: str, values: Mapping[str, Any] | None = None) -> Any:
        """Have the program do something, and return what it answers.

        :raises Conflict: it does not run.
        :raises Unavailable: it does not answer.
        """
        if self.state is not NodeState.STARTED or self.run is None:
            raise Conflict(f"{self.title} is not up: start it.")
        client = self._client or await self._connect()
        try:
            return await client.call(call, values or {})
        except HelperFailed as error:
            # The next call begins anew: the connection may be of no use.
            self._hang_up()
            raise Unavailable(f"The program of {self.title} does not answer: {error}.") from error

    async def _apply(self) -> None:
        """Have the program be what is wanted.

        :raises Conflict: a wire cannot be plugged in.
        :raises Unavailable: it does not answer.
        """
        if self.run is None:
            return
        wanted = await self.wanted()
        async with self.run.rebinding(udp_ports(wanted)):
            failed = (await self.ask("configure", wanted.told()))["failed"]
        if failed:
            reasons = "; ".join(f"port {number}: {why}" for number, why in failed.items())
            raise Conflict(
                f"Wires of {self.title} are on record, but could not be plugged in: {reasons}."
            )

    async def _connect(self) -> HelperClient:
        """Talk to the program from now on, and hear of what it tells.

        :raises Conflict: it is of another version.
        :raises Unavailable: it does not answer.
        """
        self._hang_up()
        try:
            reader, writer = await self.machine.connect(self.control)
            client = await HelperClient.connect(reader, writer, KIND)
            ended = asyncio.Event()
            client.listen(self._told, ended.set)
            self._attending = asyncio.create_task(self._attend(client, ended))
            await client.call("listen", {})
        except (OSError, HelperFailed) as error:
            self._hang_up()
            raise Unavailable(f"The program of {self.title} does not answer: {error}.") from error
        if client.greeting["protocol"] != PROTOCOL:
            self._hang_up()
            raise Conflict(
                f"The program of {self.title} is of another version, and goes on as it is: reload "
                "the node to change it."
            )
        self._client = client
        return client

    async def _attend(self, client: HelperClient, ended: asyncio.Event) -> None:
        try:
            await ended.wait()
        finally:
            client.close()
            if self._client is client:
                self._client = None

    def _hang_up(self) -> None:
        if self._attending is not None:
            self._attending.cancel()
        self._client = self._attending = None

    def _told(self, event: str, values: Mapping[str, Any]) -> None:
        if event != "flood_limited":
            return
        log.warning(
            "project %s, VM %s: flooding %s",
            self.project.id,
            self.id,
            "is no longer limited" if values["over"] else f"is limited: {dict(values)}",
        )
        told = {"vm_id": self.id, "name": self.name, **values}
        _ = self.project.own(self.project.publish("ethernet.flood_limited", told))


class EthernetSwitch(EthernetNode):
    """A switch."""

    kind = "switch"
    limit = "flood_limit"


class EthernetHub(EthernetNode):
    """A hub."""

    kind = "hub"
    limit = "hub_limit"


async def describe(machine: Machine) -> str:
    """What its nodes run there.

    :raises Conflict: that machine has no such Python.
    """
    python = await machine.find_program(sys.executable)
    if python is None:
        raise Conflict(
            f"{sys.executable}, which runs the server, is not on its machine: install it."
        )
    return f"{python} -m gns3server_ethernet.switch"


def udp_ports(wanted: Wanted) -> tuple[Port, ...]:
    """The ports that the program binds."""
    return tuple(Port("udp", wire.lport) for wire in wanted.wires.values())
