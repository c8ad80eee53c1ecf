"""Checks of the files and shapes of errors that a plugin offers with its routes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import PurePosixPath

from gns3server.http.families import PREFIX, SHARED, ErrorShape, StaticFiles, family
from gns3server.http.static import folder_of
from gns3server.plugin_host.checks import (
    Unfit,
    check_schema,
    check_text,
    is_coroutine_function,
)


def check_static(offered: Iterable[StaticFiles]) -> None:
    """Refuse files that do not exist, or whose prefix cannot be used.

    :raises Unfit: says which, and what to change.
    """
    for static in offered:
        where = f"StaticFiles at {static.prefix!r}"
        _check_prefix(where, static.prefix)
        for name in ("package", "folder", "tag"):
            check_text(where, name, getattr(static, name))
        parts = PurePosixPath(static.folder).parts
        if not parts or any(part in ("/", "..") for part in parts):
            raise Unfit(f"{where}: {static.folder!r} is not a folder in a package: write its path")
        try:
            folder = folder_of(static)
        except (ImportError, TypeError, ValueError) as error:
            raise Unfit(f"{where}: there is no package {static.package!r}: {error}") from error
        if not folder.is_dir():
            raise Unfit(
                f"{where}: the package {static.package!r} has no folder {static.folder!r}: "
                "name it in the package data of its distribution"
            )


def check_error_shapes(offered: Iterable[ErrorShape], families: Iterable[str]) -> None:
    """Refuse shapes of errors that could not be used, or that nobody would see.

    :param families: the families of the plugin's own routes.
    :raises Unfit: says which, and what to change.
    """
    seen, own = set[str](), set(families)
    for shape in offered:
        where = f"ErrorShape at {shape.prefix!r}"
        _check_prefix(where, shape.prefix)
        if shape.prefix in seen:
            raise Unfit(f"{where} is offered twice")
        seen.add(shape.prefix)
        if family(shape.prefix) == SHARED:
            raise Unfit(f"{where}: errors below /{SHARED} have one shape for all")
        if family(shape.prefix) not in own:
            raise Unfit(f"{where}: the plugin has no route there")
        if not callable(shape.render) or is_coroutine_function(shape.render):
            raise Unfit(f"{where}: its render is called, and not awaited: write it with def")
        try:
            inspect.signature(shape.render).bind(None, None)
        except TypeError as error:
            raise Unfit(
                f"{where}: its render must take two arguments, the error and the request: {error}"
            ) from error
        if shape.schema is not None:
            check_schema(where, shape.schema)


def _check_prefix(where: str, prefix: object) -> None:
    if not (isinstance(prefix, str) and PREFIX.fullmatch(prefix)):
        raise Unfit(f"{where}: write a path without parameters and without a slash at its end")
