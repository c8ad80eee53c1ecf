"""The machine that nodes run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gns3server.files.images import Images
from gns3server.files.small_files import SmallFiles
from gns3server.ports import Ports
from gns3server.running.gate import StartGate
from gns3server.running.runner import Runner


@dataclass(frozen=True, slots=True)
class Machine:
    """Where nodes run: the runner, its start gate, and what that machine has.

    :param runtime: what the directories for sockets of running nodes are below.
    """

    runner: Runner
    gate: StartGate
    ports: Ports
    search_path: str
    files: SmallFiles
    images: Images
    runtime: Path
