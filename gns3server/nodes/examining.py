"""Whether the nodes of each type can run on a machine, as their plugins tell it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from gns3server.calls import LimitedCalls, TookTooLong, on_behalf_of
from gns3server.errors import LabError
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.registry import Registry
from gns3server.running.machine import Machine

log = logging.getLogger(__name__)

EXAMINE_SECONDS = 10.0
"""How long a plugin may take to say whether the nodes of one type can run."""

UNTOLD = "only a start tells whether they can run here: their plugin does not say"
NEEDLESS = "they need no program on this machine"


@dataclass(frozen=True, slots=True)
class TypeAbility:
    """Whether the nodes of a type can run on a machine.

    :param name: the node type.
    :param runs: whether they can; ``None`` if nothing tells before a start.
    :param text: what they run, or what keeps them from running, and what would make them run.
    """

    name: str
    runs: bool | None
    text: str


class TypeExaminer:
    """Asks plugins whether their nodes can run. Those who ask at the same time share one answer.

    :param seconds: see :data:`EXAMINE_SECONDS`.
    """

    def __init__(self, seconds: float = EXAMINE_SECONDS) -> None:
        self._limits = LimitedCalls(seconds)
        self._asking: asyncio.Task[dict[str, TypeAbility]] | None = None

    async def ask(self, registry: Registry, machine: Machine) -> dict[str, TypeAbility]:
        """Ask about all node types, by name.

        :param registry: has the types.
        :param machine: where they would run.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all(registry, machine))
        # Shielded: one of those who share it may be cancelled.
        return await asyncio.shield(self._asking)

    async def _ask_all(self, registry: Registry, machine: Machine) -> dict[str, TypeAbility]:
        kinds = list(registry.node_types.values())
        plugins = [registry.plugins.get(kind.name, "") for kind in kinds]
        found = await asyncio.gather(
            *(self._ask(kind, plugin, machine) for kind, plugin in zip(kinds, plugins, strict=True))
        )
        return {ability.name: ability for ability in found}

    async def _ask(self, kind: NodeType, plugin: str, machine: Machine) -> TypeAbility:
        if kind.examine is None:
            if issubclass(kind.node_class, ProcessNode):
                return TypeAbility(kind.name, None, UNTOLD)
            return TypeAbility(kind.name, True, NEEDLESS)
        try:
            with on_behalf_of(plugin):
                text = await self._limits.run(partial(kind.examine, machine))
        except LabError as error:
            return TypeAbility(kind.name, False, error.message)
        except TookTooLong:
            text = f"its plugin {plugin!r} did not say so within {self._limits.seconds:g} seconds"
            return TypeAbility(kind.name, None, text)
        except Exception as error:
            log.warning("the plugin %s could not examine %s: %s", plugin, kind.name, error)
            text = f"its plugin {plugin!r} has failed to say so: tell its authors"
            return TypeAbility(kind.name, None, text)
        return TypeAbility(kind.name, True, str(text))
