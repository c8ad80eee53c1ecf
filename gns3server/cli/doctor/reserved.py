"""The ports that open projects have reserved, and the processes that have bound them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from gns3server.cli.doctor.processes import Binding, bound_ports, command_line, working_directory
from gns3server.cli.doctor.report import Finding, Section
from gns3server.cli.doctor.survey import Survey
from gns3server.nodes.registry import Registry
from gns3server.running.launching import check_free
from gns3server.running.procfs import hides_descriptors, run_id_carriers
from gns3server.running.runs import LaunchFailed
from gns3server.running.spec import Port
from gns3server.storage.rows import StoredProject

ALLOCATED = "allocation"
RUNS = "process"

Uses = dict[str, list[str]]
"""Why a port is reserved: its purposes, by owner."""


def reserved_ports(survey: Survey, registry: Registry) -> Section:
    """The ports of consoles and wires, and ports that were allocated.

    :raises OSError: the kernel does not list its sockets.
    """
    reserved = _collect(survey, registry)
    bound = bound_ports()
    ours = _our_processes(survey)
    # A start takes what one of them has bound for the node's own.
    hides = any(map(hides_descriptors, ours))
    entries = []
    for port in sorted(reserved, key=lambda port: (port.kind, port.number)):
        uses = (f"{' and '.join(words)} of {whose}" for whose, words in reserved[port].items())
        text = f"{port}: {', '.join(uses)}"
        if port not in bound:
            entries.append(Finding(f"{text}; not bound"))
            continue
        if not bound[port].pids and hides and any(RUNS in each for each in reserved[port].values()):
            entries.append(
                Finding(f"{text}; bound by a process that does not show what it has open")
            )
            continue
        entries.append(_bound(text, port, bound[port], ours, reserved[port]))
    return Section("Reserved ports", entries)


def _our_processes(survey: Survey) -> set[int]:
    """The processes of the nodes of known projects, including those started just now."""
    runs = [*(run for _, _, run in survey.runs()), *survey.own_runs]
    ours = {pid for run in runs for pid in survey.living(run)}
    recorded = {run_id for project in survey.projects for run_id in project.run_ids}
    for run_id, stats in run_id_carriers().items():
        for stat in stats:
            place = working_directory(stat.pid)
            if run_id in recorded or any(project.holds(place) for project in survey.projects):
                ours.add(stat.pid)
    return ours


def _bound(text: str, port: Port, bound: Binding, ours: set[int], uses: Uses) -> Finding:
    pids, where = bound.pids, " and ".join(sorted(bound.addresses))
    text = f"{text}; bound on {where}"
    who = ", ".join(f"process {pid}" for pid in sorted(pids)) or "another user's process"
    if pids and pids <= ours:
        return Finding(f"{text} by {who}")
    strangers = ", ".join(f"{pid} ({command_line(pid):.60})" for pid in sorted(pids - ours))
    who = f"process {strangers}" if strangers else who
    text = f"{text} by {who}, which is not ours"
    # A port that is only allocated may be bound by its client itself.
    problem = any(words != [ALLOCATED] for words in uses.values()) and _is_in_the_way(port)
    advice = "The node cannot start: end that process, or give the node another port."
    return Finding(text, problem=problem, advice=advice if problem else "")


def _is_in_the_way(port: Port) -> bool:
    """Whether a start would find a port taken; it may be bound on some other address only."""
    try:
        check_free(port)
    except LaunchFailed:
        return True
    return False


def _collect(survey: Survey, registry: Registry) -> dict[Port, Uses]:
    reserved: dict[Port, Uses] = {}
    for project in survey.projects:
        if project.stored is None or not project.place.open:
            continue
        for kind, number, use, whose in _uses(survey, project.stored, registry):
            try:
                words = reserved.setdefault(Port(kind, number), {}).setdefault(whose, [])
            except ValueError:
                # Somebody has edited the file: no server can use this NIO either.
                continue
            if use not in words:
                words.append(use)
    return reserved


def _uses(
    survey: Survey, stored: StoredProject, registry: Registry
) -> Iterator[tuple[Literal["tcp", "udp"], int, str, str]]:
    names = {node.id: f"{node.name!r} {node.id}" for node in stored.nodes}
    for node in stored.nodes:
        if node.console is not None:
            yield "tcp", node.console, "console", names[node.id]
    for node_id, number in _wires(stored, registry):
        yield "udp", number, "wire", names.get(node_id, node_id)
    for end in [end for link in stored.links for end in link.ends]:
        yield "udp", end.local, "link", names[end.node_id]
        if end.relay is not None:
            yield "udp", end.relay, "link panel", f"project {stored.id}"
    for run in stored.runs:
        if survey.goes_on(run):
            for port in run.spec.reserved_ports:
                yield port.kind, port.number, RUNS, names.get(run.owner.id, run.owner.id)
    for number in stored.allocated_ports:
        yield "udp", number, ALLOCATED, f"project {stored.id}"


def _wires(stored: StoredProject, registry: Registry) -> Iterator[tuple[str, int]]:
    """The nodes with NIOs that name UDP ports, and the ports."""
    for node_id, nios in stored.nios.items():
        for nio in nios.values():
            # If no plugin in service offers the NIO's type, its port is not known.
            kind = registry.nio_types.get(nio.type)
            field = kind.local_udp_port if kind is not None else None
            if field is not None and field in nio.fields:
                yield node_id, nio.fields[field]
