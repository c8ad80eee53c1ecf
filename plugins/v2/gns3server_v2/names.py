"""The words of the /v2 wire that are no more than words."""

from __future__ import annotations

import uuid

from gns3server.plugin import NodeState, NodeType

NODE_TYPES = (
    "cloud",
    "nat",
    "ethernet_hub",
    "ethernet_switch",
    "frame_relay_switch",
    "atm_switch",
    "docker",
    "dynamips",
    "vpcs",
    "traceng",
    "virtualbox",
    "vmware",
    "iou",
    "qemu",
)
"""All node types that clients know. One of another type makes a project unreadable for them."""

ALWAYS_STARTED = frozenset(
    {"cloud", "nat", "ethernet_hub", "ethernet_switch", "frame_relay_switch", "atm_switch"}
)
"""Types that clients do not offer to start."""

MILDEST = "vpcs"
"""What a node is shown as whose type says nothing: its dialog has a name and a console only."""

CONSOLE_TYPES = ("telnet", "vnc", "http", "https", "spice", "spice+agent", "none")

COMPUTE = "local"
"""The id of the one compute: this server."""

STATUS = {
    NodeState.STOPPED: "stopped",
    NodeState.STARTING: "stopped",
    NodeState.STARTED: "started",
    NodeState.STOPPING: "started",
    NodeState.SUSPENDED: "suspended",
}


def is_id(text: str) -> bool:
    """Whether a text is a UUID in the usual form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def wire_type(name: str, kind: NodeType | None) -> str:
    """What clients call a node type.

    :param name: its name here.
    :param kind: its declaration; ``None`` if no plugin offers it.
    """
    if name in NODE_TYPES:
        return name
    known = "" if kind is None else kind.presentation.known_as
    return known if known in NODE_TYPES else MILDEST
