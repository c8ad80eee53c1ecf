"""Whether the nodes of each type can run here, as their plugins tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gns3server.app import local_machine
from gns3server.cli.doctor.report import Finding
from gns3server.nodes.examining import TypeAbility, TypeExaminer
from gns3server.nodes.registry import Registry
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import Settings

MISSED = (
    "Nodes of this type cannot be started. If you need none, name the plugin in disabled_plugins."
)


def ask_abilities(settings: Settings, registry: Registry) -> Mapping[str, TypeAbility]:
    """Ask about all node types, by name."""

    async def ask() -> Mapping[str, TypeAbility]:
        async with local_machine(LiveSettings(lambda **_: settings), registry) as machine:
            return await TypeExaminer().ask(registry, machine)

    return asyncio.run(ask()) if registry.node_types else {}


def found(ability: TypeAbility) -> Finding:
    """What the doctor says of a type."""
    missing = ability.runs is False
    text = f"  {ability.name}: {ability.text}"
    return Finding(text, problem=missing, advice=MISSED if missing else "")
