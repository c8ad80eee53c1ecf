"""Stopping orphans and removing leftovers. The caller must hold the state directory's lock."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Iterator

from gns3server.cli.doctor.leftovers import find_leftovers
from gns3server.cli.doctor.orphans import find_orphans
from gns3server.cli.doctor.report import Finding, Section
from gns3server.cli.doctor.survey import Survey
from gns3server.running.local import LocalRunner


def clean(survey: Survey) -> Section:
    """Clean up what can be, and report each thing that was done.

    :raises OSError: the processes cannot be examined.
    """
    return Section("Cleaned", [*_stop_orphans(survey), *_remove_leftovers(survey)])


def _stop_orphans(survey: Survey) -> list[Finding]:
    ours = {orphan.run_id: orphan for orphan in find_orphans(survey) if orphan.run_id is not None}
    if ours:
        asyncio.run(_sweep(ours))
    return [Finding(f"stopped {orphan.text}") for orphan in ours.values()]


async def _sweep(run_ids: Collection[str]) -> None:
    runner = LocalRunner({})
    try:
        await runner.sweep(run_ids)
    finally:
        await runner.close()


def _remove_leftovers(survey: Survey) -> Iterator[Finding]:
    for found in find_leftovers(survey):
        if not found.removable:
            continue
        try:
            if found.path.is_dir():
                shutil.rmtree(found.path)
            else:
                found.path.unlink()
        except OSError as error:
            yield Finding(f"could not remove {found.path}: {error.strerror}", problem=True)
        else:
            yield Finding(f"removed {found.path}")
