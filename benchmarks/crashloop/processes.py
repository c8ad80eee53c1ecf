"""The processes of nodes, found without asking the server: by run id and directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

RUN_ID = "GNS3_RUN_ID"
"""Every process of a node has this variable in its environment."""


def processes_of_nodes() -> Iterator[tuple[str, str, psutil.Process]]:
    """Node id, run id and process of all nodes that run on this machine, oldest first.

    A node's directory is named after its id, and is where its processes run.
    """
    found = []
    for process in psutil.process_iter():
        try:
            run_id = process.environ().get(RUN_ID)
            if run_id is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process.create_time(), Path(process.cwd()).name, run_id, process))
        except psutil.Error:
            continue
    for _, node_id, run_id, process in sorted(found, key=lambda row: (row[0], row[3].pid)):
        yield node_id, run_id, process


def main_process(node_id: str) -> int | None:
    """The pid of a node's first process; ``None`` when it has none."""
    found = (process.pid for owner, _, process in processes_of_nodes() if owner == node_id)
    return next(found, None)


def bound_ports(process: psutil.Process) -> set[int]:
    """The TCP and UDP ports that a process and its children have bound."""
    ports: set[int] = set()
    for member in [process, *process.children(recursive=True)]:
        for link in member.net_connections("inet"):
            if link.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
                ports.add(link.laddr.port)
    return ports
