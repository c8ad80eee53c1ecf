"""For plugin authors: a real server, a client and a conformance suite, as a pytest plugin."""

from __future__ import annotations

from typing import Any

from gns3server.testing import fixtures
from gns3server.testing.fixtures import *  # noqa: F403
from gns3server.testing.fixtures import pytest_addoption as pytest_addoption

__all__ = fixtures.__all__


def __getattr__(name: str) -> Any:
    return getattr(fixtures, name)
