"""Copying files of a project off the loop, until it is about to close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gns3server.errors import Conflict, StorageFailed
from gns3server.files.copying import GivenUp
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.nodes.project_base import ProjectBase
from gns3server.running.threads import SeparateThreads

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copying:
    """What copies files, until somebody wants it to stop.

    :param threads: do it.
    :param stopped: tells whether to give up.
    """

    threads: SeparateThreads
    stopped: Callable[[], bool]

    async def run(self, what: str, work: Callable[..., T]) -> T:
        """Call a function that copies files in a thread; it must not be cancelled meanwhile.

        :param what: was not done if it fails: "the snapshot was not made".
        :param work: takes ``stopped``.
        :raises Conflict: it was stopped.
        :raises StorageFailed: it cannot be written, or something cannot be read.
        """
        try:
            return await self.threads.run(partial(work, stopped=self.stopped))
        except GivenUp as error:
            raise Conflict(
                f"{what}, because the project is being closed or deleted, or the server stops."
            ) from error
        except OSError as error:
            raise StorageFailed(
                f"{what}: {error}. Nothing was changed. "
                f"{remedy(error, None, DIRECTORY_REMEDY)} Then try again."
            ) from error


def copying_of(project: ProjectBase) -> Copying:
    """What copies files of a project until that is about to close."""
    return Copying(project.copiers, project.closing.is_set)
