"""What must be true of a server, as far as its answers have told the client."""

from __future__ import annotations

from dataclasses import dataclass, field


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
        """Whether this is what was seen."""
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

    :param states: what it may be: one thing, or several while a request about
        it has no answer; ``None`` stands for a node that does not exist.
    :param process: unless the server was asked to start, reload or stop it and
        has not answered.
    """

    id: str
    states: list[NodeState | None]
    process: Process | None = None

    @property
    def known(self) -> NodeState | None:
        """What it is; to be asked only when no request about it is under way."""
        (state,) = self.states
        return state


@dataclass(slots=True)
class ProjectModel:
    """One project.

    :param names: what its name may be; ``None`` stands for a project that does not exist.
    :param allocated: UDP ports that are allocated; their NIOs may name them.
    :param allocating: how many allocations have no answer.
    :param closed_before: since its nodes were wired, perhaps.
    """

    id: str
    names: list[str | None]
    nodes: list[NodeModel]
    allocated: set[int] = field(default_factory=set)
    allocating: int = 0
    closed_before: bool = False

    @property
    def exists(self) -> bool:
        """Whether it is open; to be asked only when no request about it is under way."""
        (name,) = self.names
        return name is not None

    def forget_nodes(self) -> None:
        """The project is gone, and with it all of this."""
        for node in self.nodes:
            node.states, node.process = [None], None
        self.allocated.clear()
        self.allocating = 0


@dataclass(slots=True)
class Model:
    """Everything, and how it came about."""

    projects: list[ProjectModel]
    history: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> list[NodeModel]:
        """The nodes of all projects, those included that do not exist."""
        return [node for project in self.projects for node in project.nodes]
