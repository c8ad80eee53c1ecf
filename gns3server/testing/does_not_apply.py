"""How a test says that its requirement means nothing to what is tested."""

from __future__ import annotations

from typing import NoReturn

import pytest


def does_not_apply(why: str) -> NoReturn:
    """End a test whose requirement means nothing to the node type or plugin.

    :param why: what it has not.
    """
    pytest.skip(f"does not apply: {why}")
