"""For plugin authors: what :mod:`gns3server.testing.fixtures` says, as a pytest plugin."""

from __future__ import annotations

from typing import Any

from gns3server.testing import fixtures
from gns3server.testing.fixtures import *  # noqa: F403
from gns3server.testing.fixtures import pytest_addoption

__all__ = [*fixtures.__all__, "pytest_addoption"]  # noqa: PLE0604 (names that are there)


def __getattr__(name: str) -> Any:
    return getattr(fixtures, name)
