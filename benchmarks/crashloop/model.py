"""What must be true of a server, as far as its answers tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a client can know of a node.

    :param console: ``None`` when the server was to choose one and has not answered.
    :param wire: local UDP port of its NIO.
    """

    name: str
    console: int | None
    text: str
    wire: int | None = None
    started: bool = False

    def fits(self, seen: NodeState) -> bool:
        """Whether this matches what was seen."""
        console = seen.console if self.console is None else self.console
        return seen == NodeState(self.name, console, self.text, self.wire, self.started)


@dataclass(slots=True)
class Process:
    """The main process of a started node, and the ports it has bound."""

    pid: int
    console: int
    wire: int | None


@dataclass(slots=True)
class NodeModel:
    """One node.

    :param states: its possible states: one, or several while a request about
        it has no answer; ``None`` stands for a node that does not exist.
    :param process: unknown while the server was asked to start, reload or stop
        it and has not answered.
    :param events: its events that the event log must have, in this order.
    :param coming: how these may continue while a request has no answer.
    """

    id: str
    states: list[NodeState | None]
    process: Process | None = None
    events: list[str] = field(default_factory=list)
    coming: list[list[str]] = field(default_factory=lambda: [[]])

    @property
    def known(self) -> NodeState | None:
        """What it is; to be asked only when no request about it is under way."""
        (state,) = self.states
        return state

    def begin(self, *states: NodeState | None, events: Sequence[list[str]] = ()) -> None:
        """A request was sent that should lead to the last of these states, and may to others.

        :param events: the events that may be told then; those of a success come last.
        """
        self.states, self.coming = list(states), [[], *events]

    def finish(self) -> None:
        """The request was answered."""
        self.states = self.states[-1:]
        self.events += self.coming[-1]
        self.coming = [[]]


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What a client can know of a project.

    :param open: otherwise it is closed, and its files are where they were.
    """

    name: str
    path: Path
    temporary: bool = False
    open: bool = True


@dataclass(slots=True)
class ProjectModel:
    """One project.

    :param home: its directory unless it was moved.
    :param states: its possible states; ``None`` stands for a project that does not exist.
    :param allocated: UDP ports that are allocated; their NIOs may name them.
    :param allocating: how many allocations have no answer.
    :param closed_before: whether it may have been closed since its nodes were wired.
    """

    id: str
    home: Path
    nodes: list[NodeModel]
    states: list[ProjectState | None] = field(default_factory=lambda: [None])
    allocated: set[int] = field(default_factory=set)
    allocating: int = 0
    closed_before: bool = False

    @property
    def known(self) -> ProjectState | None:
        """What it is; to be asked only when no request about it is under way."""
        (state,) = self.states
        return state

    @property
    def is_open(self) -> bool:
        """Whether it is open; to be asked only when no request about it is under way."""
        return self.known is not None and self.known.open

    def settle(self, state: ProjectState | None) -> None:
        """Note its state; if it does not exist any more, all that it had is gone too."""
        self.states = [state]
        if state is None or not state.open:
            self.allocated.clear()
            self.allocating = 0
        if state is None:
            self.closed_before = False
            for node in self.nodes:
                node.states, node.process, node.events, node.coming = [None], None, [], [[]]


@dataclass(slots=True)
class Model:
    """All projects, and the history of requests."""

    projects: list[ProjectModel]
    history: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> list[NodeModel]:
        """The nodes of all projects, including those that do not exist."""
        return [node for project in self.projects for node in project.nodes]
