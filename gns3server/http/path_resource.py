"""Path patterns as aiohttp's router takes them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from functools import cached_property
from typing import Any, NoReturn

from aiohttp import web
from aiohttp.hdrs import METH_ANY

from gns3server.http.routing import PARAMETER, expression

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a request."""

Expect = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers the header ``Expect`` of a request."""


def check_pattern(path: str) -> None:
    """Refuse a path pattern that no request can be compared with.

    :raises ValueError: says why.
    """
    names = set()
    for name, rule in PARAMETER.findall(path):
        if not name.isidentifier() or name in names:
            raise ValueError(f"{name!r} is not a name, or is there twice")
        names.add(name)
        try:
            groups = re.compile(f"({rule})").groupindex
        except re.error as error:
            raise ValueError(f"{rule!r} is not an expression: {error}") from error
        if groups:
            raise ValueError(f"the expression of {name!r} has groups with names")


class PathResource(web.AbstractResource):
    """All routes of one path pattern.

    Its expression is compiled when the first request is compared with it. aiohttp's own resources
    compile theirs when they are made, which took a tenth of the server's start.

    :param path: the pattern, as of a :class:`~gns3server.http.routing.Route`.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._routes: dict[str, web.AbstractRoute] = {}
        self._methods: set[str] = set()

    def add_route(
        self, method: str, handler: Serve, *, expect_handler: Expect | None = None
    ) -> web.AbstractRoute:
        """Serve a method, or aiohttp's ``METH_ANY`` for all others."""
        route = web.ResourceRoute(method, handler, self, expect_handler=expect_handler)
        self._routes[method] = route
        self._methods.add(method)
        return route

    @property
    def canonical(self) -> str:
        """The pattern without expressions; the router goes by what is before the first brace."""
        return PARAMETER.sub(r"{\1}", self._path)

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        # A name of a file may hold a newline, which is a character like any other.
        return re.compile(expression(self._path, named=True), re.DOTALL)

    async def resolve(self, request: web.Request) -> tuple[Any, set[str]]:
        """The route of a request with the parameters' values; else the methods that there are."""
        match = self._expression.fullmatch(request.rel_url.path_safe)
        if match is None:
            return None, set()
        route = self._routes.get(request.method) or self._routes.get(METH_ANY)
        if route is None:
            return None, self._methods
        values = {name: _unescaped(value) for name, value in match.groupdict().items()}
        return web.UrlMappingMatchInfo(values, route), self._methods

    def raw_match(self, path: str) -> bool:
        """Whether it is the resource of this pattern."""
        return path == self._path

    def get_info(self) -> Any:
        """What it matches."""
        return {"formatter": self.canonical, "pattern": self._expression}

    def add_prefix(self, prefix: str) -> NoReturn:
        """Refuse to become part of another application."""
        raise NotImplementedError(f"{self._path} is a whole path: {prefix} cannot come before it")

    def url_for(self, **_values: str) -> NoReturn:
        """Refuse to make an address: nothing here needs one."""
        raise NotImplementedError(f"no address is made from {self._path}")

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(self._routes.values())


def _unescaped(value: str) -> str:
    """A part of an address whose slashes and percent signs are still escaped, without that."""
    return value.replace("%2F", "/").replace("%25", "%") if "%" in value else value
