"""A node as it was at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gns3server.nodes.nio import Nio
from gns3server.nodes.states import NodeState


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node as it was at one moment; see :class:`~gns3server.nodes.node.Node`.

    :param type: the name of its node type.
    :param properties: the values of the fields that its type has added.
    :param pids: the processes that run for it on its machine, its program first.
    :param command: the program that runs for it, with its arguments; empty if none does.
    :param runs_with: what is special about the way in which it runs; all null while it is stopped.
    :param adapters: how many adapters it has; ``None`` if their number does not matter.
    :param ports: how many ports each of these has.
    :param wires: what is plugged in, by adapter and port.
    :param values: its :meth:`~gns3server.nodes.node.Node.snapshot`, without texts of more than
        16 Ki characters; in events only, and empty in the event of its deletion.
    """

    id: str
    project_id: str
    type: str
    name: str
    state: NodeState
    console: int | None
    properties: Mapping[str, Any]
    directory: Path
    pids: tuple[int, ...]
    command: tuple[str, ...]
    runs_with: Mapping[str, Any]
    adapters: int | None
    ports: int
    wires: Mapping[tuple[int, int], Nio]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayoutView:
    """A node that was placed, as the event ``layout`` reports it.

    :param values: what has changed: some of ``x``, ``y``, ``z``, ``symbol`` and ``label``.
    """

    id: str
    project_id: str
    values: Mapping[str, Any]
