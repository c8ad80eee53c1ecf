"""The states of a node and the one table of its moves."""

from __future__ import annotations

from enum import Enum

from gns3server.errors import Conflict


class NodeState(Enum):
    """What a node is doing. The API has fewer words for it."""

    STOPPED = "stopped"
    STARTING = "starting"
    STARTED = "started"
    SUSPENDED = "suspended"
    STOPPING = "stopping"


MOVES: dict[NodeState, frozenset[NodeState]] = {
    NodeState.STOPPED: frozenset({NodeState.STARTING}),
    NodeState.STARTING: frozenset({NodeState.STARTED, NodeState.STOPPING, NodeState.STOPPED}),
    NodeState.STARTED: frozenset({NodeState.SUSPENDED, NodeState.STOPPING, NodeState.STOPPED}),
    NodeState.SUSPENDED: frozenset({NodeState.STARTED, NodeState.STOPPING, NodeState.STOPPED}),
    NodeState.STOPPING: frozenset({NodeState.STOPPED}),
}
"""From each state, the states a node may move to."""

WIRE_STATUS: dict[NodeState, str] = {
    NodeState.STOPPED: "stopped",
    NodeState.STARTING: "stopped",
    NodeState.STARTED: "started",
    NodeState.SUSPENDED: "suspended",
    NodeState.STOPPING: "started",
}
"""What each state is called in v1 answers and events."""


def check_move(name: str, now: NodeState, wanted: NodeState) -> None:
    """Refuse a move that the table does not have.

    :raises Conflict: names the node and both states.
    """
    if wanted not in MOVES[now]:
        raise Conflict(
            f"VM {name!r} is {now.value} and cannot become {wanted.value}: "
            "wait for it, or stop it first."
        )
