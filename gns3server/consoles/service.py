"""The consoles of all runs, as the server sees them: what the console server shall serve."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gns3server.errors import LabError
from gns3server.running.console import Console, ConsolePlace
from gns3server.running.control import HelperFailed
from gns3server.running.runs import LaunchFailed
from gns3server.storage.rows import RunRow
from gns3server.supervision.helper import HelperKind, SupervisedHelper
from gns3server.supervision.place import RunPlace

log = logging.getLogger(__name__)

CONSOLE_SERVER = HelperKind(
    name="consoles",
    title="The console server",
    module="gns3server.consoles.console_server",
    protocol=1,
)

TAIL_BYTES = 2000
"""How much of what a terminal shows is quoted in a message."""


@dataclass(slots=True)
class _Served:
    """A console of a run that this server watches."""

    console: Console
    lost: Callable[[], None]
    has_lost_terminal: bool = False


class ConsoleService:
    """Implements :class:`~gns3server.supervision.place.Terminals` with a console server.

    The console server outlives this one. What it serves for runs that nobody has claimed yet, as
    their project cannot be opened, it goes on serving until they end.

    :param place: where the console server's run belongs: the server.
    :param directory: where it works.
    :param scrollback: how many bytes of what was shown a new client gets.
    """

    def __init__(self, place: RunPlace, *, directory: Path, scrollback: Callable[[], int]) -> None:
        self._place = place
        self._scrollback = scrollback
        self._served: dict[str, _Served] = {}
        self._unclaimed: dict[str, Mapping[str, Any]] = {}
        self._helper = SupervisedHelper(
            CONSOLE_SERVER,
            place,
            directory=directory,
            state=self._state,
            idle=self._idle,
            told=self._told,
            lost=self._lost,
        )

    @property
    def pid(self) -> int | None:
        """The process id of the console server; None while there is none."""
        return self._helper.pid

    # Its life ------------------------------------------------------------------------------

    async def adopt(self, rows: Sequence[RunRow]) -> None:
        """Continue with the console server of an earlier server, and all that it serves.

        :param rows: the server's runs on record.
        :raises OSError: its processes could not be searched for, and were left alone.
        """
        if await self._helper.adopt(rows):
            status = await self._helper.call("status", {})
            self._unclaimed = {
                each["console"]["id"]: each["console"]
                for each in status["consoles"]
                if each["alive"]
            }

    async def close(self) -> None:
        """End the console server if it serves nothing; otherwise leave it to the next server."""
        await self._helper.close()

    # Terminals -----------------------------------------------------------------------------

    async def open_console(
        self, run_id: str, console: Console, lost: Callable[[], None]
    ) -> ConsolePlace:
        self._served[run_id] = _Served(console, lost)
        try:
            answer = await self._helper.synchronize()
            if run_id in answer.get("failed", {}):
                raise LaunchFailed(str(answer["failed"][run_id]))
        except BaseException:
            self._served.pop(run_id, None)
            raise
        return ConsolePlace(self._helper.socket, run_id)

    def keep_console(self, run_id: str, console: Console, lost: Callable[[], None]) -> None:
        self._unclaimed.pop(run_id, None)
        self._served[run_id] = _Served(console, lost)
        _ = self._place.own(self._synchronize())

    async def close_console(self, run_id: str) -> None:
        if self._served.pop(run_id, None) is not None:
            await self._synchronize()

    async def tail(self, run_id: str) -> str:
        try:
            shown = await self._helper.call("tail", {"console": run_id, "bytes": TAIL_BYTES})
        except HelperFailed:
            return ""
        return str(shown).strip()

    # What the console server shall serve -----------------------------------------------------

    def _idle(self) -> bool:
        return not self._unclaimed and all(each.has_lost_terminal for each in self._served.values())

    def _state(self) -> Mapping[str, Any]:
        served = [
            self._plain(run_id, each.console)
            for run_id, each in self._served.items()
            if not each.has_lost_terminal
        ]
        return {"consoles": [*self._unclaimed.values(), *served]}

    def _plain(self, run_id: str, console: Console) -> dict[str, Any]:
        source: dict[str, Any] = {"kind": console.source}
        if console.source == "unix":
            source["path"] = console.path
        elif console.source == "tcp":
            source |= {"host": "127.0.0.1", "port": console.source_port}
        return {
            "id": run_id,
            "host": self._place.machine.console_host,
            "port": console.port,
            "source": source,
            "scrollback": self._scrollback(),
            "transcript": None,
            "input": None if console.input is None else asdict(console.input),
        }

    async def _synchronize(self) -> None:
        """Tell the console server what has changed. Failures are logged."""
        try:
            await self._helper.synchronize()
        except LabError as error:
            log.warning("the console server could not be told what to serve: %s", error.message)

    def _told(self, event: str, what: Mapping[str, Any]) -> None:
        if event == "ended" and self._unclaimed.pop(str(what["console"]), None) is not None:
            _ = self._place.own(self._synchronize())

    def _lost(self) -> None:
        self._unclaimed.clear()
        for each in list(self._served.values()):
            if each.console.is_terminal:
                each.has_lost_terminal = True
                each.lost()
