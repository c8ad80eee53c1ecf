"""A link in the panel: its relay and its capture, brought to what is wanted of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.links.panel.capture import Capture, Told
from gns3server.links.panel.frames import FrameReader
from gns3server.links.panel.impairments import Frames
from gns3server.links.panel.relay import Relay
from gns3server.links.panel.schedule import Schedule
from gns3server.links.panel.sniffer import Sniffer
from gns3server.links.panel.wanted import WantedCapture, WantedLink
from gns3server.running.threads import SeparateThreads

UNFILTERED = "a link without a relay can be neither filtered nor suspended"


class Link:
    """One link.

    :param reader: receives the frames of all links.
    :param told: tells the server an event of this link.
    :param threads: to open files in.
    """

    def __init__(
        self, reader: FrameReader, schedule: Schedule, told: Told, threads: SeparateThreads
    ) -> None:
        self.capture: Capture | None = None
        self._reader = reader
        self._schedule = schedule
        self._told = told
        self._threads = threads
        self._wanted: WantedLink | None = None
        self._relay: Relay | None = None
        self._sniffer: Sniffer | None = None

    def let_go(self, wanted: WantedLink) -> None:
        """Give up what is not wanted as it is: another link may want its ports."""
        if self._relay is not None and not (
            wanted.relay and (self._relay.host, self._relay.ends) == (wanted.host, wanted.ends)
        ):
            self._relay.close()
            self._relay = None
        if self._sniffer is not None and (wanted.relay or self._sniffer.ends != wanted.ends):
            self._sniff_no_more()

    async def apply(self, wanted: WantedLink) -> None:
        """Have the link as it is wanted; what is so already is not touched.

        :raises OSError: something cannot be had.
        :raises ValueError: something cannot be done.
        """
        former, self._wanted = self._wanted, wanted
        if wanted.relay:
            if self._relay is None:
                self._relay = Relay(wanted, self._reader, self._schedule, self._captured)
            elif former != wanted:
                self._relay.configure(wanted)
        elif wanted.filters or wanted.suspended:
            raise ValueError(UNFILTERED)
        elif wanted.capture is not None and self._sniffer is None:
            self._sniffer = Sniffer(wanted, self._reader, self._captured)
        try:
            await self._apply_capture(wanted.capture)
        finally:
            if self._relay is not None:
                # Not before: the capture would miss the first frames.
                self._relay.start()
            if self.capture is None or self.capture.ended is not None:
                self._sniff_no_more()

    async def close(self) -> None:
        """Give everything up, with what has been captured on its way to the disk."""
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        self._sniff_no_more()
        await self._apply_capture(None)

    def status(self) -> Mapping[str, Any]:
        """What there is to say of it."""
        return {
            "relayed": self._relay is not None,
            "ends": self._relay.status() if self._relay is not None else None,
            "sniffed": self._sniffer.status() if self._sniffer is not None else None,
            "capture": self.capture.status() if self.capture is not None else None,
        }

    async def _apply_capture(self, wanted: WantedCapture | None) -> None:
        if self.capture is not None and self.capture.wanted != wanted:
            if self._sniffer is not None:
                # Frames that have arrived at the other end belong into the file.
                self._sniffer.catch_up()
            former, self.capture = self.capture, None
            await former.close()
        if wanted is not None and self.capture is None:
            self.capture = await Capture.open(wanted, self._tell, self._threads)

    def _tell(self, event: str, what: dict[str, Any]) -> None:
        if event == "capture_ended":
            self._sniff_no_more()
        self._told(event, what)

    def _sniff_no_more(self) -> None:
        if self._sniffer is not None:
            self._sniffer.catch_up()
            self._sniffer.close()
            self._sniffer = None

    def _captured(self, frames: Frames) -> None:
        if self.capture is not None:
            self.capture.take(frames)
