"""A host, and what hosts and routers have in common."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

from gns3server.plugin import (
    Change,
    Conflict,
    Console,
    HelperClient,
    HelperFailed,
    LaunchSpec,
    Nio,
    NodeState,
    Port,
    ProcessNode,
    Unavailable,
)
from gns3server_linux.holder.wanted import (
    KIND,
    PROTOCOL,
    STARTUP,
    Wanted,
    Wire,
    tell_wires,
)
from gns3server_linux.programs import LinuxContext, find_program, find_shell, own_program

log = logging.getLogger(__name__)

WANTED = "wanted.json"
"""What the program is to be at its start, in the node's directory."""

LONGEST_HOST_NAME = 63


class LinuxNode(ProcessNode):
    """A Linux host: a shell, and interfaces, in namespaces of their own."""

    _client: HelperClient | None = None
    _attending: asyncio.Task[None] | None = None
    _has_group = False
    """Whether there may be a control group, if its memory is limited."""

    # What it is ------------------------------------------------------------------------

    @property
    def adapters(self) -> int:
        """How many interfaces it has."""
        return int(self.properties["adapters"])

    @property
    def context(self) -> LinuxContext:
        """What all nodes of the server share."""
        found: LinuxContext = self.type.context
        return found

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Keep the values, unless a wired interface would go away, or they cannot change now."""
        change = await super().prepare(values)
        properties, files = dict(change.properties), {}
        adapters = properties.get("adapters")
        if adapters is not None and "adapters" in self.properties and adapters != self.adapters:
            self._check_adapters(adapters)
        if "startup_script" in values:
            properties.pop("startup_script", None)
            script = values["startup_script"]
            if script is not None or await self.read_file(STARTUP) is not None:
                files[STARTUP] = (script or "").encode()
        return Change(properties=properties, files=files)

    def _check_adapters(self, adapters: int) -> None:
        lost = sorted(adapter for adapter, _ in self.nios if adapter >= adapters)
        if lost:
            names = ", ".join(f"eth{number}" for number in lost)
            raise Conflict(
                f"Nothing of VM {self.name!r} was changed: {names} would go away, and are wired. "
                "Unplug them first."
            )
        if self.state is not NodeState.STOPPED:
            raise Conflict(
                f"Nothing of VM {self.name!r} was changed: it gets interfaces when it is started. "
                "Stop it first."
            )

    # Its life --------------------------------------------------------------------------

    @property
    def group(self) -> str:
        """What its control group is called, if its memory is limited."""
        return f"gns3server-{self.id}"

    @property
    def control(self) -> str:
        """The path of its program's unix socket."""
        return str(self.runtime_directory / "control")

    async def shell(self) -> tuple[str, ...]:
        """What its console shows.

        :raises Conflict: the machine does not have it.
        """
        return await find_shell(self.machine)

    async def daemons(self) -> tuple[str, ...]:
        """The daemons of FRR that it runs, in order.

        :raises Conflict: the machine does not have one of them.
        """
        return ()

    async def sysctls(self) -> dict[str, str]:
        """Values of the kernel that it is started with."""
        return dict(self.properties["sysctls"])

    async def wires(self) -> dict[int, Wire]:
        """Its wires, by interface.

        :raises Conflict: the host at the end of a wire has no address.
        """
        return {
            adapter: Wire(
                nio.values["lport"],
                await self.machine.resolve_ipv4(nio.values["rhost"]),
                nio.values["rport"],
                carrier=not self.is_suspended(adapter),
            )
            for (adapter, _), nio in self.nios.items()
        }

    async def wanted(self) -> Wanted:
        """What its program is to be.

        :raises Conflict: the machine does not have what it needs.
        """
        return Wanted(
            name=host_name(self.name),
            home=str(self.directory),
            addresses=tuple(mac_address(self.id, number) for number in range(self.adapters)),
            wires=await self.wires(),
            sysctls=await self.sysctls(),
            shell=await self.shell(),
            daemons=await self.daemons(),
            restart=self.settings["restart_daemons"],
            ip=await find_program(self.machine, "ip", "iproute2"),
            most_processes=self.settings["most_processes"],
            group=self.group,
            memory=self.properties["memory_limit"] * 1024 * 1024,
        )

    async def launch_spec(self) -> LaunchSpec:
        """The program, with its wires."""
        try:
            await self.context.namespaces(self.machine)
            wanted = await self.wanted()
        except Conflict as error:
            raise Conflict(f"VM {self.name!r} cannot be started: {error.message}") from error
        return LaunchSpec(
            argv=(
                await self.find_program(sys.executable),
                *own_program("__main__"),
                self.control,
                WANTED,
            ),
            cwd=str(self.directory),
            files={WANTED: json.dumps(wanted.told()).encode(), **self.own_files()},
            ports=udp_ports(wanted.wires),
            sockets=(self.control,),
            console=Console(port=self.console),
        )

    def own_files(self) -> dict[str, bytes]:
        """Further files that are written at each start, by name."""
        return {}

    async def start(self) -> None:
        """Start the program, and listen to it."""
        self._has_group = True
        await super().start()
        await self._connect()

    async def adopted(self) -> None:
        """Have the program of an earlier server be what is wanted by now."""
        self._has_group = True
        await self._apply()

    async def wire_changing(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Refuse a wire with a UDP port that cannot be bound."""
        if nio is None:
            return
        lport = nio.values["lport"]
        for (other, _), plugged in self.nios.items():
            if other != adapter and plugged.values["lport"] == lport:
                raise Conflict(
                    f"UDP port {lport} is in use by eth{other} of {self.title}: choose another."
                )
        if self.run is None or Port("udp", lport) in self.run.spec.ports:
            return
        if not await self.machine.can_bind("UDP", lport):
            raise Conflict(
                f"UDP port {lport} is in use by another process of the machine: choose another."
            )

    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Plug in, or unplug, while it runs."""
        await self._apply()

    async def settle(self) -> None:
        """Hang up when the program has ended."""
        await super().settle()
        if self.run is None:
            self._hang_up()
            await self._remove_group()

    async def stop(self) -> None:
        """Stop the program."""
        await super().stop()
        self._hang_up()
        await self._remove_group()

    async def deleted(self) -> None:
        """Remove what a program may have left that was killed with its server."""
        self._has_group = True
        await self._remove_group()
        await super().deleted()

    async def _remove_group(self) -> None:
        if self._has_group and self.properties["memory_limit"]:
            self._has_group = False
            command = (sys.executable, *own_program("group"), self.group)
            result = await self.machine.run_tool(command)
            if result.code != 0:
                log.warning("VM %s: its control group was not removed: %s", self.id, result.output)

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
        if self.state not in (NodeState.STARTED, NodeState.STOPPING) or self.run is None:
            raise Conflict(f"{self.title} is not up: start it.")
        client = self._client or await self._connect()
        try:
            return await client.call(call, values or {})
        except HelperFailed as error:
            # The next call begins anew: the connection may be of no use.
            self._hang_up()
            raise Unavailable(f"The program of {self.title} does not answer: {error}.") from error

    async def _apply(self) -> None:
        """Have the program have the wires that are wanted.

        :raises Conflict: a wire cannot be plugged in.
        :raises Unavailable: it does not answer.
        """
        if self.run is None:
            return
        wires = await self.wires()
        async with self.run.rebinding(udp_ports(wires)):
            failed = (await self.ask("wire", {"wires": tell_wires(wires)}))["failed"]
        if failed:
            reasons = "; ".join(f"eth{number}: {why}" for number, why in failed.items())
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
            client.listen(self.told, ended.set)
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

    def told(self, event: str, values: Mapping[str, Any]) -> None:
        """Hear of an event of the program."""


def host_name(name: str) -> str:
    """A host name that is like a node's name: the kernel and FRR take letters, digits and ``-``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")
    return words[:LONGEST_HOST_NAME].rstrip("-") or "node"


def mac_address(node_id: str, number: int) -> str:
    """The address of an interface: always the same, and locally administered.

    36 of its bits are made of the node's id: among a thousand nodes, the odds of the same ones are
    one in 137,000.
    """
    *middle, last = hashlib.sha256(node_id.encode()).digest()[:5]
    return ":".join(f"{byte:02x}" for byte in (0x02, *middle, last & 0xF0 | number))


def udp_ports(wires: Mapping[int, Wire]) -> tuple[Port, ...]:
    """The ports that the program binds."""
    return tuple(Port("udp", wire.lport) for wire in wires.values())
