"""Removing the temporary projects that no server uses any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path

from gns3server.places import paths
from gns3server.running.machine import Machine
from gns3server.storage.file_check import lock_holder
from gns3server.storage.stores import PROJECT_FILE

log = logging.getLogger(__name__)


async def purge(projects: Path, keep: Collection[Path], machine: Machine) -> None:
    """Remove temporary projects that are not open anywhere, as far as that is possible (SRV-04).

    Where a node still runs, the list of projects was lost, not the lab: it can be opened again.

    :param keep: the directories of the projects that this server knows.
    """
    try:
        leftovers = await asyncio.to_thread(paths.temporary_leftovers, projects, keep)
        for path in leftovers:
            is_open = await asyncio.to_thread(_is_open, path)
            if is_open or await machine.runs_in(path):
                log.warning("the temporary project in %s stays: it is in use", path)
                continue
            await asyncio.to_thread(paths.remove_what_we_put_there, path)
            log.info("the temporary project in %s was removed", path)
    except OSError as error:
        log.warning("temporary projects in %s stay: %s", projects, error)


def _is_open(path: Path) -> bool:
    """Whether another server has a project's records open."""
    try:
        return lock_holder(path / PROJECT_FILE) is not None
    except FileNotFoundError:
        return False
