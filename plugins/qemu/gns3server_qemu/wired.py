"""What is plugged into a guest that runs, and how it is told: by QMP."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable

from gns3server.plugin import Conflict, Nio, Port
from gns3server_qemu.context import Launched
from gns3server_qemu.monitor import Monitor, Refused
from gns3server_qemu.programs import Program
from gns3server_qemu.values import DescribedGuest
from gns3server_qemu.wires import UDP, Backend, backend, card, plug, plug_of, wire

log = logging.getLogger(__name__)


class WiredGuest(DescribedGuest, ABC):
    """A virtual machine whose wires are changed while it runs."""

    _monitor: Monitor | None = None
    _launched: Launched | None = None

    async def wire_changing(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Refuse a UDP port that another wire has, or that cannot be bound."""
        if nio is None or nio.type != UDP:
            return
        lport = nio.values["lport"]
        for (other, _), plugged in self.nios.items():
            if other != adapter and plugged.type == UDP and plugged.values["lport"] == lport:
                raise Conflict(
                    f"UDP port {lport} is in use by adapter {other} of {self.title}: choose "
                    "another."
                )
        if self.run is None or Port("udp", lport) in self.run.spec.ports:
            return
        if not await self.machine.can_bind("UDP", lport):
            raise Conflict(
                f"UDP port {lport} is in use by another process of the machine: choose another."
            )

    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Plug in, or unplug, while it runs; or have the guest see that its link is suspended."""
        if self.run is None:
            return
        monitor = await self._talk()
        told = await self.store.get("wires", {})
        if told.get(str(adapter)) == await self._backend(adapter):
            await self._set_link(monitor, adapter)
            return
        others = tuple(port for port in self.run.spec.ports if port.kind != "udp")
        async with self.run.rebinding((*others, *self._udp_ports())):
            await self._replug(monitor, adapter)
        await self._keep_wires()

    async def _replug(self, monitor: Monitor, adapter: int) -> None:
        """Have what is plugged into a network card be what is wanted by now.

        :raises Conflict: it cannot be plugged in.
        """
        wanted = await self._backend(adapter)
        if wanted is None:
            # The guest sees it before frames are lost.
            await self._set_link(monitor, adapter)
        for name in (plug(adapter), wire(adapter)):
            try:
                await monitor.execute("netdev_del", {"id": name})
            except Refused as error:
                if not error.gone:
                    raise
        if wanted is None:
            return
        try:
            await monitor.execute("netdev_add", wanted)
        except Refused as error:
            raise Conflict(
                f"The wire at adapter {adapter} of {self.title} is on record, but could not be "
                f"plugged in: {error.message}"
            ) from error
        await monitor.execute("netdev_add", plug_of(adapter))
        await self._set_link(monitor, adapter)

    async def _set_link(self, monitor: Monitor, adapter: int) -> None:
        """Have the guest see whether something is plugged in that carries frames."""
        replicated = self.values["replicate_network_connection_state"]
        wired = self.nio(adapter) is not None and not self.is_suspended(adapter)
        up = wired or not replicated
        await monitor.execute("set_link", {"name": card(adapter), "up": up})

    async def _backend(self, adapter: int) -> Backend | None:
        nio, launched = self.nio(adapter), await self._what_was_launched()
        if nio is None or launched is None:
            return None
        version = Program("", launched.version).numbers
        return await backend(adapter, nio, version, self.machine)

    async def _keep_wires(self) -> None:
        """Note what is plugged in: a later server changes only what differs."""
        wires = {str(adapter): await self._backend(adapter) for adapter in range(self.adapters)}
        await self.store.set("wires", wires)

    def _udp_ports(self) -> tuple[Port, ...]:
        return tuple(
            Port("udp", nio.values["lport"])
            for (adapter, _), nio in self.nios.items()
            if nio.type == UDP and adapter < self.adapters
        )

    # Talking to it -----------------------------------------------------------------------

    async def _talk(self) -> Monitor:
        """Its QMP connection, made if need be.

        :raises Unavailable: it does not answer.
        """
        if self._monitor is not None and self._monitor.connected:
            return self._monitor
        await self._hang_up()
        self._monitor = await Monitor.connect(self.machine, self._control, self.title, self._told())
        return self._monitor

    async def _hang_up(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            await monitor.close()

    def _told(self) -> Callable[[str], None]:
        where = f"project {self.project.id}, VM {self.id}"

        def told(event: str) -> None:
            if event == "BLOCK_IO_ERROR":
                log.warning("%s: its disk cannot be written; the guest may be paused", where)

        return told

    async def _what_was_launched(self) -> Launched | None:
        """What runs, also if an earlier server has started it."""
        if self._launched is None:
            stored = await self.store.get("launched")
            self._launched = None if stored is None else Launched.from_json(stored)
        return self._launched

    @property
    def _control(self) -> str:
        """The path of its QMP socket."""
        return str(self.runtime_directory / "qmp")
