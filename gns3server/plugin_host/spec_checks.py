"""What can be seen of a launch spec before there is one: the code that makes it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from gns3server.running.spec import LaunchSpec


def argv_as_text(function: Callable[..., Any]) -> str | None:
    """The command line that a function writes as one text where its parts belong.

    Everything else about a launch spec is known only once a node is started.

    :param function: makes launch specs.
    :returns: the text, as it is written; ``None`` if there is none, or the code is not at hand.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, SyntaxError, TypeError):
        return None
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _name(call.func) == LaunchSpec.__name__:
            for keyword in call.keywords:
                if keyword.arg == "argv" and _is_text(keyword.value):
                    return ast.unparse(keyword.value)
    return None


def _name(function: ast.expr) -> str:
    """The last part of a function's name."""
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _is_text(value: ast.expr) -> bool:
    constant = isinstance(value, ast.Constant) and isinstance(value.value, str)
    return constant or isinstance(value, ast.JoinedStr)
