"""Links in the words of the /v2 wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.plugin import LinkEnd, LinkView
from gns3server_v2.link_filters import shown
from gns3server_v2.names import COMPUTE

STYLE = "font-family: sans-serif;font-size: 9.0;fill: #1f3d5a;fill-opacity: 1.0;"
"""How the label of an end is written that clients have given none."""


def link_object(view: LinkView, kept: Mapping[str, Any]) -> dict[str, Any]:
    """A link.

    :param kept: what clients have said of it.
    """
    labels = kept.get("labels") or [None, None]
    capture = view.capture
    return {
        "link_id": view.id,
        "project_id": view.project_id,
        "link_type": "ethernet",
        "nodes": [_end(end, label) for end, label in zip(view.ends, labels, strict=True)],
        "suspend": view.suspended,
        "filters": shown(view.filters, kept.get("filters", {})),
        "link_style": kept.get("link_style") or {},
        "capturing": capture is not None,
        "capture_file_name": kept.get("capture_file_name"),
        "capture_file_path": kept.get("capture_file_path"),
        "capture_compute_id": None if capture is None else COMPUTE,
    }


def _end(end: LinkEnd, label: Mapping[str, Any] | None) -> dict[str, Any]:
    usual = {"text": f"{end.adapter}/{end.port}", "style": STYLE}
    return {
        "node_id": end.node_id,
        "adapter_number": end.adapter,
        "port_number": end.port,
        "label": {**usual, **(label or {})},
    }
