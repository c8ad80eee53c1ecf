"""A router: a host that runs FRR, with vtysh on its console."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from gns3server.plugin import Change, Conflict, NodeState, ToolFailed, Unavailable
from gns3server_linux.node import LinuxNode
from gns3server_linux.programs import find_daemon, find_program
from gns3server_linux.schemas import DAEMONS

log = logging.getLogger(__name__)

CONFIGURATION = "frr.conf"
"""FRR's configuration, in the node's folder, which a router has as ``/etc/frr``."""

VTYSH = {"vtysh.conf": b"service integrated-vtysh-config\n"}

FORWARDING = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}

REFUSED = 2
"""The exit code of ``vtysh -C`` for a configuration with mistakes."""

SAVE_SECONDS = 8.0
"""How long vtysh may take to show the running configuration."""


class FrrNode(LinuxNode):
    """A router."""

    _saved: asyncio.Future[str | None] | None = None

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Keep a configuration that FRR takes, while the router is stopped."""
        change = await super().prepare(values)
        properties, files = dict(change.properties), dict(change.files)
        if "config" in values:
            properties.pop("config", None)
            text = (values["config"] or "").encode()
            stored = await self.read_file(CONFIGURATION)
            if text != (stored or b""):
                await self._check_configuration(text)
                files[CONFIGURATION] = text
        return Change(properties=properties, files=files)

    async def _check_configuration(self, text: bytes) -> None:
        """Have FRR look at a configuration.

        :raises Conflict: it cannot be this router's now, or has mistakes; the text names lines.
        """
        if self.state is not NodeState.STOPPED:
            raise Conflict(
                f"The configuration of {self.title} was not changed: it runs, and stores what it "
                "runs with when it stops. Stop it first, or configure it on its console."
            )
        vtysh = await find_program(self.machine, "vtysh", "frr")
        place = self.runtime_directory
        await self.machine.make_runtime_directory(place)
        try:
            files = {CONFIGURATION: text, **VTYSH}
            await self.machine.place_files(place, self.machine.runtime, files)
            path = f"{place}/{CONFIGURATION}"
            checked = await self.machine.run_tool(
                [vtysh, "-C", "--config_dir", str(place), "-f", path]
            )
        except (OSError, ToolFailed) as error:
            why = error.reason if isinstance(error, ToolFailed) else error.strerror
            raise Conflict(
                f"The configuration of {self.title} was not changed: FRR cannot look at it: {why}."
            ) from error
        finally:
            await self.machine.remove_runtime_directory(place)
        if checked.code == REFUSED:
            raise Conflict(
                f"The configuration of {self.title} was not changed: FRR does not take "
                f"{'; '.join(checked.output.strip().splitlines()[:10])}. Correct that first."
            )

    async def shell(self) -> tuple[str, ...]:
        """``vtysh``."""
        return (await find_program(self.machine, "vtysh", "frr"),)

    async def daemons(self) -> tuple[str, ...]:
        """Those that are wanted, and those that they need."""
        await self.context.frr(self.machine)
        wanted = {"zebra", *self.properties["daemons"]}
        # Since version 10, it carries out what is typed for others.
        if await find_daemon(self.machine, "mgmtd") is not None:
            wanted.add("mgmtd")
        for name in wanted:
            if await find_daemon(self.machine, name) is None:
                raise Conflict(f"the FRR of its machine has no {name}: leave it out of its daemons")
        return tuple(name for name in DAEMONS if name in wanted)

    async def sysctls(self) -> dict[str, str]:
        """A router forwards, unless its properties say otherwise."""
        return {**FORWARDING, **await super().sysctls()}

    def own_files(self) -> dict[str, bytes]:
        """What tells vtysh that one file has the configuration of all daemons."""
        return VTYSH

    async def shut_down(self, deadline: float) -> None:
        """Bring the running configuration into its file, if FRR shows it."""
        await super().shut_down(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                await self.save()
        except (Unavailable, TimeoutError) as error:
            why = getattr(error, "message", "FRR was too slow to show it")
            log.warning("VM %s: %s", self.id, why)
            self._publish("linux.configuration_not_stored", {"message": why})

    async def save(self) -> None:
        """Bring the running configuration into its file.

        :raises Conflict: it does not run.
        :raises Unavailable: FRR does not say what it runs with; the file is as it was.
        """
        if self._saved is None:
            self._saved = asyncio.get_running_loop().create_future()
        saved = self._saved
        try:
            await self.ask("save")
            async with asyncio.timeout(SAVE_SECONDS):
                problem = await asyncio.shield(saved)
        except TimeoutError as error:
            raise Unavailable(
                f"FRR of {self.title} does not show its configuration, so {CONFIGURATION} is as it "
                "was: look at its console."
            ) from error
        finally:
            self._saved = None
        if problem is not None:
            raise Unavailable(
                f"The running configuration of {self.title} was not stored, and {CONFIGURATION} is "
                f"as it was: {problem}."
            )

    def told(self, event: str, values: Mapping[str, Any]) -> None:
        """Hear of what FRR does."""
        if event == "saved" and self._saved is not None and not self._saved.done():
            self._saved.set_result(values["problem"])
        elif event == "daemon_ended":
            log.warning("VM %s: FRR's %s has ended (%s)", self.id, values["daemon"], values["code"])
            self._publish("linux.daemon_ended", values)
        elif event == "refused":
            log.warning("VM %s: FRR does not take %s", self.id, "; ".join(values["lines"]))
            self._publish("linux.configuration_refused", values)

    def _publish(self, name: str, values: Mapping[str, Any]) -> None:
        told = {"vm_id": self.id, "name": self.name, **values}
        _ = self.project.own(self.project.publish(name, told))
