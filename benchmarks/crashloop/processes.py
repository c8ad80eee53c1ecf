"""The processes of nodes, found without asking the server: by run id and directory."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

RUN_ID = "GNS3_RUN_ID"
"""Every process of a node has this variable in its environment."""

CONSOLE_SERVER = "gns3server.consoles.console_server"
ANSWER_SECONDS = 10.0


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


def served_consoles() -> dict[str, set[int]]:
    """The ports that console servers listen on, by the runs whose consoles they are."""
    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            command = process.cmdline()
            if CONSOLE_SERVER in command and RUN_ID in process.environ():
                for each in _ask(command[-1], "status")["consoles"]:
                    if each["listening"]:
                        found[each["console"]["id"]] = {each["console"]["port"]}
    return found


def _ask(path: str, call: str) -> Any:
    """Ask a helper something; returns what it answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        with connection.makefile("rwb", buffering=0) as lines:
            lines.readline()
            lines.write(json.dumps({"call": call, "id": 1}).encode() + b"\n")
            return json.loads(lines.readline())["result"]


def bound_ports(process: psutil.Process) -> set[int]:
    """The ports that a process and its children have bound, and that its console is served on."""
    ports = served_consoles().get(process.environ().get(RUN_ID, ""), set())
    for member in [process, *process.children(recursive=True)]:
        for link in member.net_connections("inet"):
            if link.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
                ports.add(link.laddr.port)
    return ports
