"""The known projects and their nodes, as they are on record."""

from __future__ import annotations

from collections.abc import Iterator

from gns3server.cli.doctor.report import Finding, Section
from gns3server.cli.doctor.survey import KnownProject, Survey
from gns3server.nodes.registry import Registry
from gns3server.projects.damaged import AGAIN
from gns3server.storage.file_check import DatabaseError, DatabaseMissing
from gns3server.storage.rows import NodeRow, RunRow, StoredProject


def projects(survey: Survey, registry: Registry) -> Section:
    """Every project, with its nodes or the reason why it cannot be opened."""
    entries = []
    for project in survey.projects:
        where = f"{project.place.id} in {project.path}"
        if project.path.name == project.place.id:
            where = str(project.path)
        if isinstance(project.content, DatabaseError):
            entries.append(_damaged(project, project.content, where))
            continue
        entries.append(Finding(f"{where}: {_described(project, project.content)}"))
        entries += _nodes(survey, project, project.content, registry)
    return Section("Projects", entries)


def _damaged(project: KnownProject, trouble: DatabaseError, where: str) -> Finding:
    kind = "missing" if isinstance(trouble, DatabaseMissing) else "damaged"
    state = "open" if project.place.open else "closed"
    return Finding(
        f"{where}: {state}, but {kind}: {trouble.reason}",
        problem=True,
        advice=f"{trouble.remedy} {AGAIN}",
    )


def _described(project: KnownProject, stored: StoredProject) -> str:
    words = ["open" if project.place.open else "closed", f"nodes: {len(stored.nodes)}"]
    if stored.temporary:
        words.insert(1, "temporary")
    return f"{stored.name!r}, {', '.join(words)}"


def _nodes(
    survey: Survey, project: KnownProject, stored: StoredProject, registry: Registry
) -> Iterator[Finding]:
    runs = {run.owner.id: run for run in stored.runs if run.owner.kind == "node"}
    for node in stored.nodes:
        run = runs.get(node.id)
        text = f"  {node.type} {node.name!r} {node.id}: {_state(survey, node, run)}"
        if node.type not in registry.node_types:
            advice = (
                f"No plugin in service offers the type {node.type}. The node stays stored: "
                f"install or repair the plugin to use the node again."
            )
            yield Finding(text, problem=True, advice=advice)
        elif run is not None and not project.place.open and survey.goes_on(run):
            advice = "Its project is closed. Open the project, then close it: that stops the node."
            yield Finding(text, problem=True, advice=advice)
        else:
            yield Finding(text)


def _state(survey: Survey, node: NodeRow, run: RunRow | None) -> str:
    if run is None:
        # A node without a process here: only its plugin knows more.
        return node.state
    living = ", ".join(map(str, survey.living(run)))
    if survey.goes_on(run):
        return f"{'suspended' if node.state == 'suspended' else 'started'}, process {living}"
    if survey.server is not None:
        return "starting or stopping"
    if not run.processes:
        return "stopped; a start was under way when the server ended"
    if survey.boot_id and all(one.boot_id != survey.boot_id for one in run.processes):
        return "was started, and ended with an earlier boot of this machine"
    end = "ended" if not living else "lost a process"
    return f"was started, and has {end} while no server ran"
