"""Which plugin a place in code belongs to."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Any

Step = tuple[FrameType, int]
"""A frame and the line that it is at."""


class PluginModules:
    """Knows plugins by their modules, to name the one that some code belongs to."""

    def __init__(self) -> None:
        self._plugins: dict[str, str] = {}

    def add(self, plugin: str, module: str) -> None:
        """Take note of the module that a plugin's entry point names, and of its package."""
        self._plugins[module] = plugin
        package = getattr(sys.modules.get(module), "__package__", None)
        if package:
            self._plugins.setdefault(package, plugin)

    def plugin_of(self, module: str) -> str | None:
        """The plugin that a module belongs to."""
        while module:
            if module in self._plugins:
                return self._plugins[module]
            module = module.rpartition(".")[0]
        return None

    def culprit(self, error: BaseException) -> str | None:
        """The plugin that an error comes from: the innermost one that it went through."""
        for frame, _ in steps_of_error(error.__traceback__):
            plugin = self.plugin_of(frame.f_globals.get("__name__") or "")
            if plugin is not None:
                return plugin
        return None

    def place(self, steps: Iterable[Step]) -> str:
        """Where some code is, in words: the plugin, the function, the file and line.

        :param steps: from the innermost call outwards; the first one in a plugin counts.
        """
        innermost = ""
        for frame, line in steps:
            plugin = self.plugin_of(frame.f_globals.get("__name__") or "")
            code = frame.f_code
            text = f"{code.co_qualname} ({code.co_filename}, line {line})"
            if plugin is not None:
                return f"the plugin {plugin!r}, {text}"
            innermost = innermost or text
        return innermost or "an unknown place"


def steps_of_frame(frame: FrameType | None) -> Iterator[Step]:
    """The calls that are under way, from the innermost one outwards."""
    return traceback.walk_stack(frame)


def steps_of_error(trace: TracebackType | None) -> list[Step]:
    """The calls that an error came through, from where it was raised outwards."""
    return list(traceback.walk_tb(trace))[::-1]


def steps_of_task(task: asyncio.Task[Any]) -> list[Step]:
    """Where a task waits, from the innermost call outwards."""
    steps: list[Step] = []
    # The task itself knows only the outermost frame.
    waits: Any = task.get_coro()
    while inspect.iscoroutine(waits) and waits.cr_frame is not None:
        steps.append((waits.cr_frame, waits.cr_frame.f_lineno))
        waits = waits.cr_await
    return steps[::-1]
