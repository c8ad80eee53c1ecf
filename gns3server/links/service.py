"""The link panel of one project, as the server sees it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, LabError
from gns3server.nodes.project_base import ProjectBase
from gns3server.running.helper_client import HelperClient, HelperFailed
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import RunRow
from gns3server.supervision.helper import HelperKind, SupervisedHelper

log = logging.getLogger(__name__)

LINK_PANEL = HelperKind(
    name="links",
    title="The link panel",
    module="gns3server.links.panel",
    protocol=1,
)

FOLLOWED_BYTES = 64 * 1024
"""How much of a capture is handed on at once."""


class LinkPanel:
    """What relays and captures links: a process that outlives the server.

    :param place: the project, in whose directory it works.
    :param links: all links that need it, as its call ``state`` has them.
    :param ended: called when a capture has ended by itself, with the link and the reason.
    :param lost: called when the panel has ended by itself, and another one is started.
    """

    def __init__(
        self,
        place: ProjectBase,
        *,
        links: Callable[[], Sequence[Mapping[str, Any]]],
        ended: Callable[[str, str], None],
        lost: Callable[[], None],
    ) -> None:
        self._place = place
        self._ended = ended
        self._helper = SupervisedHelper(
            LINK_PANEL,
            place,
            directory=lambda: place.path,
            state=lambda: {"links": links()},
            idle=lambda: not links(),
            told=self._told,
            lost=lost,
        )

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        return self._helper.pid

    async def synchronize(self) -> Mapping[str, str]:
        """Tell it all that it shall do, as that is now.

        :returns: by link, the reason why it cannot be had as it is wanted.
        :raises gns3server.errors.LabError: there is no panel, and none can be started.
        """
        answer = await self._helper.synchronize()
        failed: Mapping[str, str] = answer.get("failed", {})
        return failed

    async def synchronize_anyway(self) -> None:
        """Tell it all that it shall do. Failures are logged."""
        try:
            failed = await self.synchronize()
        except LabError as error:
            log.warning("project %s: %s", self._place.id, error.message)
        else:
            for link_id, reason in failed.items():
                log.warning("project %s, link %s: %s", self._place.id, link_id, reason)

    async def ended_captures(self) -> Mapping[str, str]:
        """The captures that have ended by themselves while nobody listened: by link, the reason."""
        try:
            status = await self._helper.call("status", {})
        except HelperFailed:
            return {}
        captures = {link_id: link["capture"] for link_id, link in status["links"].items()}
        return {link_id: one["ended"] for link_id, one in captures.items() if one and one["ended"]}

    async def adopt(self, rows: Sequence[RunRow]) -> None:
        """Continue with the panel of an earlier server, and all that it does.

        :param rows: the project's runs on record.
        :raises OSError: its processes could not be searched for, and were left alone.
        """
        await self._helper.adopt(rows)

    async def stop(self) -> None:
        """End it, and return when it is gone."""
        await self._helper.stop()

    async def leave(self) -> None:
        """Let it run on, for the next server."""
        await self._helper.leave()

    def move(self, change: ProjectChange, source: Path, target: Path) -> None:
        """Have a change store that the project's directory has another path."""
        self._helper.move(change, source, target)

    def be_moved(self, source: Path, target: Path) -> None:
        """Take note that the project's directory has another path."""
        self._helper.be_moved(source, target)

    async def follow(self, link_id: str) -> AsyncGenerator[bytes, None]:
        """The capture of a link as a pcap stream: its header, the last seconds, what comes.

        :raises Conflict: the link is not being captured, or too many follow it.
        """
        client = await self._connect()
        try:
            call = {"call": "follow", "id": 1, "with": {"link": link_id}}
            client.writer.write(json.dumps(call).encode() + b"\n")
            await client.writer.drain()
            answer = json.loads(await client.reader.readline() or '{"error": "it has hung up"}')
            if "error" in answer:
                raise Conflict(f"Link {link_id} cannot be followed: {answer['error']}.")
            while data := await client.reader.read(FOLLOWED_BYTES):
                yield data
        except (OSError, ValueError) as error:
            raise Conflict(f"Link {link_id} can no longer be followed: {error}.") from error
        finally:
            client.close()

    async def _connect(self) -> HelperClient:
        try:
            streams = await self._place.machine.connect(self._helper.socket)
            return await HelperClient.connect(*streams, LINK_PANEL.name)
        except (OSError, HelperFailed) as error:
            raise Conflict(
                f"No link of project {self._place.id} is being captured: start a capture first."
            ) from error

    def _told(self, event: str, what: Mapping[str, Any]) -> None:
        if event == "capture_ended":
            self._ended(str(what["link"]), str(what["reason"]))
        elif event == "capture_behind":
            log.warning(
                "project %s: the capture of link %s lacks frames, because the disk is too slow: %s",
                self._place.id,
                what["link"],
                what["dropped"],
            )
