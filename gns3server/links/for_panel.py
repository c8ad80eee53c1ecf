"""Links as the link panel is told of them, by its call ``state``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.links.link import LinkView
from gns3server.storage.link_rows import RELAYED, LinkRow

Wanted = Mapping[str, Any]


def link_for_panel(link: LinkRow, address: str, capture: Wanted | None) -> Wanted:
    """A link that was made as such.

    :param address: the address of the machine that its nodes run on.
    :param capture: what is to be captured of it, if anything is.
    """
    return {
        "id": link.id,
        "relay": link.path == RELAYED,
        "host": address,
        "ends": [
            {"local_port": end.relay, "remote_host": address, "remote_port": end.local}
            for end in link.ends
        ],
        "suspended": link.suspended,
        "filters": link.filters,
        "seed": link.seed,
        "capture": capture,
    }


def pair_for_panel(
    pair: LinkView, ports: tuple[int, int], address: str, capture: Wanted | None
) -> Wanted:
    """Two NIOs that match, which can only be captured.

    :param ports: their UDP ports, in the order of the ends.
    """
    return {
        "id": pair.id,
        "relay": False,
        "ends": [{"remote_host": address, "remote_port": port} for port in ports],
        "capture": capture,
    }
