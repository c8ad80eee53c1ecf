"""Taking over what an earlier server left running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gns3server.links.service import LINK_PANEL
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.states import NodeState
from gns3server.projects.project import Project
from gns3server.storage.rows import RunRow
from gns3server.supervision.supervised_run import SupervisedRun

log = logging.getLogger(__name__)


async def adopt_runs(project: Project, records: Sequence[RunRow], former: Path) -> None:
    """Give the nodes back what still runs, and report what no longer runs.

    A start that was under way when the server ended is undone: nobody was told of it.

    :param former: where the project was when the last server ran.
    :raises OSError: the processes cannot be examined; nothing has happened to them.
    """
    running = await asyncio.gather(
        *(_adopt(project, record, former) for record in records), return_exceptions=True
    )
    for failure in running:
        if isinstance(failure, BaseException):
            raise failure
    ended = [record for record, runs in zip(records, running, strict=True) if not runs]
    await asyncio.gather(*(_tell_of_end(project, record) for record in ended))
    if len(ended) < len(records):
        log.info(
            "project %s: nodes that have gone on running: %d", project.id, len(records) - len(ended)
        )


async def _adopt(project: Project, found: RunRow, former: Path) -> bool:
    record = replace(found, spec=found.spec.moved(former, project.path))
    if not record.spec.is_in(project.path):
        log.warning(
            "project %s: what was started in %s is left alone: it belongs to the project that "
            "this one was copied from",
            project.id,
            record.spec.cwd,
        )
        return False
    if record.owner.kind == LINK_PANEL.name:
        await _adopt_panel(project, found, record)
        return True
    node = _owner(project, record)
    title = record.owner.kind if node is None else node.title
    run = await SupervisedRun.adopt(project, record, title=title)
    if run is None:
        return False
    if node is None:
        await run.stop()
        run.release()
        return False
    if record != found:
        async with project.change() as change:
            run.record(change)
    node.adopt(run)
    return True


async def _adopt_panel(project: Project, found: RunRow, record: RunRow) -> None:
    if record != found:
        async with project.change() as change:
            change.save_run(record)
    await project.wires.adopt(record)


async def _tell_of_end(project: Project, record: RunRow) -> None:
    node = _owner(project, record)
    if node is not None and node.state is NodeState.STOPPED and record.processes:
        log.warning(
            "project %s, VM %s (%s): it ended while no server ran", project.id, node.id, node.name
        )
        await node.lost(record.id)
    else:
        async with project.change(fact=True) as change:
            change.end_run(record.id)


def _owner(project: Project, record: RunRow) -> ProcessNode | None:
    node = project.members.find(record.owner.id) if record.owner.kind == "node" else None
    return node if isinstance(node, ProcessNode) else None
