"""Runs a conformance suite on a plugin that need not fit, and tells what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from gns3server.settings.schema import Settings
from gns3server.testing import TEST_VARIABLE, ServerFactory
from gns3server.testing.leftovers import nothing_left


async def failing(
    suite: type[Any],
    serving: ServerFactory,
    settings: Settings,
    tmp_path: Path,
    tests: Iterable[str] | None = None,
) -> set[str]:
    """The tests of a suite that fail, each run on servers with directories of their own.

    :param tests: those to run, without ``test_``; all of them by default.
    """
    failed = set()
    if tests is None:
        tests = [name.removeprefix("test_") for name in dir(suite) if name.startswith("test_")]
    for name in tests:
        test = getattr(suite(), f"test_{name}")
        taken = signature(test).parameters
        if "gns3_process" in taken:
            # What is tried has not been installed.
            continue
        own = {
            "projects_path": str(tmp_path / name / "projects"),
            "state_path": str(tmp_path / name / "state"),
        }
        try:
            with nothing_left(settings.environ[TEST_VARIABLE]):
                if "gns3_serving" in taken:
                    await test(partial(serving, **own))
                else:
                    async with serving(**own) as server:
                        await test(server)
        except AssertionError:
            failed.add(name)
        except pytest.skip.Exception:
            continue
    return failed
