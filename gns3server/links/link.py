"""A link as it is at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gns3server.nodes.wiring import Place


@dataclass(frozen=True, slots=True, order=True)
class LinkEnd:
    """Where a link is plugged in."""

    node_id: str
    adapter: int
    port: int

    @property
    def place(self) -> Place:
        """Adapter and port."""
        return self.adapter, self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureView:
    """A capture that is under way.

    :param file: the path of its file in the project's directory.
    :param snapshot_length: how many bytes of a frame are kept.
    :param max_bytes: how large the file may become; then the capture ends.
    """

    file: str
    snapshot_length: int
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """A link as it was at one moment.

    :param ends: where it is plugged in.
    :param made_as: ``link``, or ``nios`` for two NIOs that match, which clients have plugged in one
        by one.
    :param wanted_path: ``direct`` or ``relayed`` if it has to be that, ``auto`` if the server
        chooses.
    :param path: what is between its ends: with ``direct`` nothing, with ``relayed`` the link panel.
    :param suspended: it carries no frames.
    :param filters: what happens to frames on the way: parameters by type of filter.
    :param seed: where the random numbers of filters begin, so that they can be repeated.
    :param capture: what is captured, if anything is.
    :param at_next_start: the running nodes that take it up only when they are started again.
    """

    id: str
    project_id: str
    ends: tuple[LinkEnd, LinkEnd]
    made_as: Literal["link", "nios"] = "link"
    wanted_path: str = "direct"
    path: str = "direct"
    suspended: bool = False
    filters: Mapping[str, Mapping[str, Any]]
    seed: int = 0
    capture: CaptureView | None = None
    at_next_start: tuple[str, ...] = ()
