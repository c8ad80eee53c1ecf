"""What the nodes of each type run here, as their plugins tell it: what a start would find."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

from gns3server.app import local_machine
from gns3server.calls import LimitedCalls
from gns3server.cli.doctor.report import Finding
from gns3server.errors import LabError
from gns3server.nodes.registry import Registry
from gns3server.plugin_host.host import CALL_SECONDS
from gns3server.running.machine import Machine
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import Settings

MISSED = "Nodes of this type cannot be started."


def examine_programs(
    settings: Settings, registry: Registry, used: Collection[str]
) -> Mapping[str, Finding]:
    """Ask all node types that can tell; by the name of the type.

    :param used: the types that have nodes: only for these it is a problem if something is missing.
    """
    asked = {
        kind.name: kind.examine for kind in registry.node_types.values() if kind.examine is not None
    }
    answers = asyncio.run(_ask(settings, registry, asked)) if asked else {}
    return {name: _found(name, answer, needed=name in used) for name, answer in answers.items()}


async def _ask(
    settings: Settings, registry: Registry, asked: Mapping[str, Callable[[Machine], Awaitable[str]]]
) -> Mapping[str, str | BaseException]:
    limits = LimitedCalls(CALL_SECONDS)
    async with local_machine(LiveSettings(lambda **_: settings), registry) as machine:
        calls = [limits.run(partial(examine, machine)) for examine in asked.values()]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    return dict(zip(asked, answers, strict=True))


def _found(name: str, answer: str | BaseException, *, needed: bool) -> Finding:
    if not isinstance(answer, BaseException):
        return Finding(f"  {name}: {answer}")
    what = answer.message if isinstance(answer, LabError) else f"its plugin failed: {answer}"
    return Finding(f"  {name}: {what}", problem=needed, advice=MISSED)
