"""Notices that a plugin's code holds the event loop, for tests."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gns3server.plugin_host.modules import PluginModules, steps_of_frame

LOOKS_PER_SECOND = 20
HELD_LOOKS = 20
"""How often in a row the loop must be found in a plugin's code, not having run meanwhile."""


class LoopWatch:
    """Looks at what the event loop does, from a thread of its own.

    On a busy machine the loop may come late as well: it only counts as held while the code of a
    plugin is seen at work in it.

    :param modules: tells which plugin some code belongs to.
    """

    def __init__(self, modules: PluginModules) -> None:
        self.held: list[str] = []
        """Where the loop was held: the plugin, the function, file and line."""
        self._modules = modules
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._turns = 0
        self._over = threading.Event()
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def watching(self) -> Iterator[LoopWatch]:
        """Watch while the context lasts."""
        watcher = threading.Thread(target=self._watch, name="loop watch")
        watcher.start()
        self._turn()
        try:
            yield self
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._over.set()
            watcher.join()

    def _turn(self) -> None:
        self._turns += 1
        self._timer = self._loop.call_later(1 / LOOKS_PER_SECOND, self._turn)

    def _watch(self) -> None:
        seen, looks = 0, 0
        while not self._over.wait(1 / LOOKS_PER_SECOND):
            place = self._place()
            looks = looks + 1 if place and self._turns == seen else 0
            seen = self._turns
            if place and looks == HELD_LOOKS:
                self.held.append(place)

    def _place(self) -> str | None:
        steps = list(steps_of_frame(sys._current_frames().get(self._thread)))  # noqa: SLF001
        names = (frame.f_globals.get("__name__") or "" for frame, _ in steps)
        if any(self._modules.plugin_of(name) for name in names):
            return self._modules.place(steps)
        return None
