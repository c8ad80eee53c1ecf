"""A node as it was at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.nodes.states import NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """What an event shows of a node; see :class:`~gns3server.nodes.node.Node`.

    :param type: the name of its node type.
    :param values: its :meth:`~gns3server.nodes.node.Node.snapshot`.
    """

    id: str
    project_id: str
    type: str
    name: str
    state: NodeState
    console: int | None
    values: Mapping[str, Any]
