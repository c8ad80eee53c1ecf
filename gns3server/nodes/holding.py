"""What the running code already holds, so that it never waits for itself or in a circle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from gns3server.errors import PluginFault


@dataclass(eq=False, slots=True)
class Holding:
    """What a handler, a hook or a call to a node holds of a project while it works.

    :param nodes: the nodes that it alone holds; ``None`` if it holds the whole project.
    :param active: it has not ended yet.
    """

    project_id: str
    nodes: frozenset[str] | None
    active: bool = True

    def covers(self, node_ids: tuple[str, ...]) -> bool:
        """Whether it already holds these nodes alone."""
        return self.nodes is None or self.nodes.issuperset(node_ids)

    def check(self, what: str, project_id: str, node_ids: tuple[str, ...]) -> None:
        """Refuse to wait for more.

        :param what: what was called, for the message.
        :raises PluginFault: the call would have to wait for more than what is held.
        """
        if project_id != self.project_id or (self.nodes and not self.covers(node_ids)):
            wanted = ", ".join(node_ids) or "all of it"
            raise PluginFault(
                f"{what} of VM {wanted} in project {project_id} must not be called from code "
                f"that {self}: it might wait for itself. Use a route of scope SERVER or PROJECT, "
                "or a separate task once this call is over."
            )

    def __str__(self) -> str:
        if self.nodes:
            return f"holds VM {', '.join(sorted(self.nodes))} in project {self.project_id}"
        return f"holds project {self.project_id}"


_HELD: ContextVar[Holding | None] = ContextVar("held", default=None)


@contextmanager
def holding(project_id: str, *node_ids: str, whole: bool = False) -> Iterator[None]:
    """Note that the block, and any task it starts, holds a project or some of its nodes."""
    held = Holding(project_id, None if whole else frozenset(node_ids))
    token = _HELD.set(held)
    try:
        yield
    finally:
        held.active = False
        _HELD.reset(token)


def held() -> Holding | None:
    """What the running code holds."""
    found = _HELD.get()
    return found if found is not None and found.active else None


def check_free(what: str) -> None:
    """Refuse calls that wait for whole projects, when made from code that holds something.

    :raises PluginFault: names both.
    """
    found = held()
    if found is not None:
        raise PluginFault(
            f"{what} must not be called from code that {found}: it might wait for itself. Use a "
            "route of scope SERVER, or a separate task once this call is over."
        )
