"""Taking over what an earlier server has left running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from gns3server.nodes.parent import ParentProject
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.running_ports import RunningPorts
from gns3server.nodes.states import NodeState
from gns3server.ports import Holder, Use
from gns3server.projects.nodes import ProjectNodes
from gns3server.running.runner import Run
from gns3server.storage.rows import RunRow

log = logging.getLogger(__name__)


class ParkedRuns:
    """Runs of a project's nodes whose type no plugin offers: they go on, and end with the project.

    :param own: runs work in a task that the server waits for when it stops.
    """

    def __init__(
        self, project: ParentProject, own: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    ) -> None:
        self._project = project
        self._own = own
        self._runs: dict[Run, RunningPorts] = {}
        self._watchers: dict[Run, asyncio.Task[None]] = {}

    def add(self, run: Run, record: RunRow) -> None:
        """Watch a run."""
        holder = Holder(self._project.id, Use.RUNNING, record.node_id)
        ports = RunningPorts(self._project.machine.ports, record.spec, holder)
        ports.keep()
        self._runs[run] = ports
        self._watchers[run] = asyncio.create_task(self._watch(run, record.node_id))

    async def stop(self) -> None:
        """Stop all of them."""
        await asyncio.gather(*(self._end(run) for run in list(self._runs)))

    async def leave(self) -> None:
        """Let them run on, and notice nothing of them any more."""
        runs, self._runs = list(self._runs), {}
        await asyncio.gather(*(run.let_go() for run in runs))

    async def _watch(self, run: Run, node_id: str) -> None:
        await run.ended()
        if run in self._runs:
            log.warning(
                "project %s, VM %s: it has ended; no plugin knows it", self._project.id, node_id
            )
            _ = self._own(self._end(run))

    async def _end(self, run: Run) -> None:
        # First of all: the end of what is stopped here is no surprise to whoever watches it.
        ports = self._runs.pop(run, None)
        await run.stop()
        if ports is not None:
            ports.release()
            await self._project.records.end_run(run.run_id)


async def adopt_runs(
    project: ParentProject,
    nodes: ProjectNodes,
    parked_runs: ParkedRuns,
    records: Sequence[RunRow],
    known: Collection[str],
) -> None:
    """Give the nodes back what still runs, and tell of what does not run any more.

    A start that was under way when the server ended is undone: nobody was told of it.

    :param known: ids of the stored nodes, those of a missing type included.
    :raises OSError: the processes cannot be looked at; nothing has happened to them.
    """

    async def adopt(record: RunRow) -> bool:
        run = await project.machine.runner.adopt(
            record.spec, run_id=record.id, processes=record.processes
        )
        if run is None:
            return False
        node = nodes.find(record.node_id)
        if isinstance(node, ProcessNode):
            node.adopt(run, record.spec)
        elif record.node_id in known:
            parked_runs.add(run, record)
        else:
            await run.stop()
            return False
        return True

    running = await asyncio.gather(*map(adopt, records), return_exceptions=True)
    for failure in running:
        if isinstance(failure, BaseException):
            raise failure
    ended = [record for record, runs in zip(records, running, strict=True) if not runs]
    await asyncio.gather(*(_tell_of_end(project, nodes, record) for record in ended))
    if len(ended) < len(records):
        log.info(
            "project %s: nodes that have gone on running: %d", project.id, len(records) - len(ended)
        )


async def _tell_of_end(project: ParentProject, nodes: ProjectNodes, record: RunRow) -> None:
    node = nodes.find(record.node_id)
    if isinstance(node, ProcessNode) and node.state is NodeState.STOPPED and record.processes:
        log.warning(
            "project %s, VM %s (%s): it ended while no server ran", project.id, node.id, node.name
        )
        await node.lost(record.id)
    else:
        await project.records.end_run(record.id)
