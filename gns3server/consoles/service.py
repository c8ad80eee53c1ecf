"""The consoles of all runs, as the server sees them: what the console server shall serve."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gns3server.consoles.served import Served
from gns3server.consoles.stream import ConsoleStream
from gns3server.errors import Conflict, LabError
from gns3server.running.console import ConsolePlace
from gns3server.running.helper_client import HelperFailed
from gns3server.running.runs import LaunchFailed
from gns3server.running.spec import LaunchSpec
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


class ConsoleService:
    """Implements :class:`~gns3server.supervision.place.Consoles` with a console server.

    The console server outlives this one. What it serves for runs that nobody has claimed yet, as
    their project cannot be opened, it goes on serving until they end.

    :param place: where the console server's run belongs: the server.
    :param directory: where it works.
    :param scrollback: how many bytes of what was shown a new client gets.
    :param transcribe: whether all that new consoles show is added to a file.
    """

    def __init__(
        self,
        place: RunPlace,
        *,
        directory: Path,
        scrollback: Callable[[], int],
        transcribe: Callable[[], bool],
    ) -> None:
        self._place = place
        self._scrollback = scrollback
        self._transcribe = transcribe
        self._served: dict[str, Served] = {}
        self._unclaimed: dict[str, Mapping[str, Any]] = {}
        self._adopted: set[str] = set()
        self._failed: Mapping[str, str] = {}
        self._helper = SupervisedHelper(
            CONSOLE_SERVER,
            place,
            directory=lambda: directory,
            state=self._state,
            idle=self._idle,
            told=self._told,
            lost=self._lost,
        )

    # Its life ------------------------------------------------------------------------------

    async def adopt(self, rows: Sequence[RunRow]) -> None:
        """Continue with the console server of an earlier server, and all that it serves.

        :param rows: the server's runs on record.
        :raises OSError: its processes could not be searched for, and were left alone.
        """
        if not await self._helper.adopt(rows):
            return
        try:
            consoles = (await self._helper.call("status", {}))["consoles"]
        except HelperFailed as error:
            log.warning("the console server of an earlier server is ended: %s", error)
            await self._helper.stop()
            return
        for each in consoles:
            if each["transcript_failure"] is not None:
                _log_failed_transcript(each["console"]["transcript"], each["transcript_failure"])
                each["console"]["transcript"] = None
        self._adopted = {each["console"]["id"] for each in consoles}
        self._unclaimed = {
            each["console"]["id"]: each["console"] for each in consoles if each["alive"]
        }

    async def close(self) -> None:
        """End the console server if it serves nothing; otherwise leave it to the next server."""
        await self._helper.close()

    # Consoles -----------------------------------------------------------------------------

    async def open_console(
        self, run_id: str, spec: LaunchSpec, lost: Callable[[], None]
    ) -> ConsolePlace:
        served = self._take(run_id, spec, lost, transcribed=self._transcribe())
        try:
            answer = await self._helper.synchronize()
            if run_id in answer.get("failed", {}):
                raise LaunchFailed(
                    f"its console's TCP {answer['failed'][run_id]}: stop the program that has it, "
                    "choose another console, or correct console_host"
                )
            self._note_failed_transcripts(answer)
        except BaseException:
            self._served.pop(run_id, None)
            raise
        served.opened = True
        return ConsolePlace(self._helper.socket, run_id)

    def keep_console(self, run_id: str, spec: LaunchSpec, lost: Callable[[], None]) -> None:
        former = self._served.get(run_id)
        if former is None and run_id not in self._adopted:
            self._keep_unknown(run_id, spec, lost)
            return
        wanted = self._unclaimed.pop(run_id, {}) if former is None else former.wanted
        self._take(
            run_id, spec, lost, opened=True, transcribed=wanted.get("transcript") is not None
        )
        _ = self._place.own(self._synchronize())

    def _keep_unknown(self, run_id: str, spec: LaunchSpec, lost: Callable[[], None]) -> None:
        """Keep the console of a run that the console server knows nothing of.

        One of another version may have it. Otherwise its terminal is gone, with the console server
        that had it: that ends most programs, and this one has gone on.
        """
        if self._helper.has_left_another_alone:
            return
        served = self._take(run_id, spec, lost, opened=True)
        if spec.on_terminal:
            served.has_lost_terminal = True
            lost()
        else:
            _ = self._place.own(self._synchronize())

    def move_console(self, run_id: str, spec: LaunchSpec) -> None:
        served = self._served.get(run_id)
        if served is not None:
            served.spec = spec
            served.describe()
            if served.transcribed:
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

    async def attach(self, run_id: str, *, read_only: bool = False) -> ConsoleStream:
        """Take part in a console, as one more client of it.

        :param read_only: keys are not passed on.
        :raises Conflict: it is not served.
        """
        if run_id not in self._served:
            raise Conflict(
                "The console is shown at its port alone, by a console server of another version: "
                "use that, or stop and start the VM."
            )
        try:
            reader, writer = await self._place.machine.connect(self._helper.socket)
            return await ConsoleStream.open(reader, writer, run_id, read_only=read_only)
        except (OSError, HelperFailed) as error:
            raise Conflict(f"The console cannot be shown: {error}. Try again.") from error

    async def transcribe(self, run_id: str, wanted: bool) -> None:
        """Begin or end to add all that a console shows to a file in its node's directory.

        :raises Conflict: it is not served, or the file cannot be written.
        """
        served = self._served.get(run_id)
        if served is None:
            raise Conflict("The console is not served: start its VM first.")
        former, served.transcribed = served.transcribed, wanted
        served.describe()
        answer = await self._helper.synchronize()
        if run_id in answer.get("transcripts", {}):
            served.transcribed = former
            served.describe()
            raise Conflict(
                f"{served.transcript} cannot be written: {answer['transcripts'][run_id]}."
            )

    def transcript(self, run_id: str) -> Path | None:
        """The file that all that a console shows is added to; None if there is none."""
        served = self._served.get(run_id)
        return served.transcript if served is not None and served.transcribed else None

    # What the console server shall serve -----------------------------------------------------

    def _take(self, run_id: str, spec: LaunchSpec, lost: Callable[[], None], **how: bool) -> Served:
        host = self._place.machine.console_host
        served = Served(run_id, spec, lost, host, self._scrollback(), **how)
        self._served[run_id] = served
        return served

    def _idle(self) -> bool:
        return not self._unclaimed and all(each.has_lost_terminal for each in self._served.values())

    def _state(self) -> Mapping[str, Any]:
        served = [each.wanted for each in self._served.values() if not each.has_lost_terminal]
        return {"consoles": [*self._unclaimed.values(), *served]}

    async def _synchronize(self) -> None:
        """Tell the console server what has changed. Failures are logged, each once."""
        try:
            answer = await self._helper.synchronize()
        except LabError as error:
            log.warning("the console server could not be told what to serve: %s", error.message)
            return
        self._note_failed_transcripts(answer)
        failed = answer.get("failed", {})
        for run_id, reason in failed.items():
            if run_id not in self._failed:
                log.warning("the console of a running VM is not served: its TCP %s", reason)
        self._failed = failed

    def _told(self, event: str, what: Mapping[str, Any]) -> None:
        run_id = str(what["console"])
        if event == "ended" and self._unclaimed.pop(run_id, None) is not None:
            _ = self._place.own(self._synchronize())
        if event == "transcript_failed":
            self._end_transcript(run_id, str(what["reason"]))
            _ = self._place.own(self._synchronize())

    def _note_failed_transcripts(self, answer: Mapping[str, Any]) -> None:
        for run_id, reason in answer.get("transcripts", {}).items():
            self._end_transcript(run_id, reason)

    def _end_transcript(self, run_id: str, reason: str) -> None:
        served = self._served.get(run_id)
        if served is not None and served.transcribed:
            _log_failed_transcript(served.transcript, reason)
            served.transcribed = False
            served.describe()

    def _lost(self) -> None:
        self._unclaimed.clear()
        for each in list(self._served.values()):
            if each.opened and each.spec.on_terminal and not each.has_lost_terminal:
                each.has_lost_terminal = True
                each.lost()


def _log_failed_transcript(path: Path | str, reason: str) -> None:
    log.warning("the transcript %s has ended: %s; begin it anew once that is mended", path, reason)
