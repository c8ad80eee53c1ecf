"""One plugin, and what has become of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gns3server.hookspecs import PROJECT_NAME
from gns3server.http.families import ErrorShape
from gns3server.http.routing import Route
from gns3server.nodes.nio import NioType
from gns3server.nodes.node_type import NodeType
from gns3server.plugin_host import checks, route_checks
from gns3server.plugin_host.paths import Claim
from gns3server.settings.fields import section_settings
from gns3server.settings.schema import ConfigView, Settings
from gns3server.settings.server import Setting

EXTRA = re.compile(r"""\bextra\s*==\s*["']plugins["']""")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a plugin offers, as far as it could be asked."""

    node_types: Sequence[NodeType] = ()
    nio_types: Sequence[NioType] = ()
    claims: Sequence[Claim] = ()
    error_shapes: Sequence[ErrorShape] = ()

    @property
    def routes(self) -> list[Route]:
        """Its routes, including the standard ones of its node types."""
        return [claim.route for claim in self.claims]

    @property
    def families(self) -> frozenset[str]:
        """The families of paths that its routes belong to, without the shared one."""
        return route_checks.families_of(self.routes)


@dataclass(eq=False)
class Plugin:
    """One plugin: where it comes from, what it offers, and what went wrong.

    :param failed: it is out of service.
    :param phase: where something went wrong first, ``None`` while all is well.
    :param trace: the traceback of that, for the server's user, never for a client.
    :param hooks: those that it implements and that are still called.
    :param offer: what it has offered; it counts while :attr:`installed`.
    """

    name: str
    distribution: str | None = None
    version: str | None = None
    disabled: bool = False
    failed: bool = False
    phase: str | None = None
    message: str | None = None
    trace: str = ""
    error: BaseException | None = None
    module: Any = None
    hooks: tuple[str, ...] = ()
    offer: Offer = field(default_factory=Offer)
    installed: bool = False
    config_schema: Any = None
    config: ConfigView = field(default_factory=lambda: ConfigView({}))

    @property
    def usable(self) -> bool:
        """Whether it is in service."""
        return not self.disabled and not self.failed

    def rank(self, shipped: Collection[str]) -> int:
        """Its place among plugins that offer the same, of which the lowest wins.

        First come those that the server comes with, then those whose distributions are named after
        them: whoever installs one more plugin loses nothing that worked.

        :param shipped: the distributions that the server comes with.
        """
        own = plain(self.distribution or "")
        if own in shipped:
            return 0
        return 1 if own == plain(f"{PROJECT_NAME}-{self.name}") else 2

    @property
    def present(self) -> Offer:
        """The offer, as far as the server has installed it: whole or empty."""
        return self.offer if self.installed else Offer()

    def read_section(self, settings: Settings) -> Mapping[str, Any]:
        """Its own section, as its schema reads it; empty if it has no schema."""
        if self.config_schema is None:
            return {}
        return checks.read_section(self.name, self.config_schema, settings)

    def read_again(self, settings: Settings) -> Mapping[str, Any]:
        """Its own section anew; what is fixed keeps the value that it had at the start."""
        fixed = {one.name for one in self.settings() if one.fixed}
        kept = {name: value for name, value in self.config.items() if name in fixed}
        return {**self.read_section(settings), **kept}

    def settings(self) -> list[Setting]:
        """What can be set of it."""
        schema = self.config_schema
        return [] if schema is None else list(section_settings(self.name, schema))

    def report(self) -> dict[str, Any]:
        """The plugin as ``GET /v1/plugins`` shows it."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "status": "disabled" if self.disabled else "failed" if self.failed else "ok",
            "phase": self.phase,
            "message": self.message,
            "hooks": list(self.hooks),
            "node_types": [kind.name for kind in self.present.node_types],
            "nio_types": [kind.name for kind in self.present.nio_types],
            "routes": [f"{route.method} {route.plain_path}" for route in self.present.routes],
        }


def plain(name: str) -> str:
    """The name of a distribution as it is compared (packaging specification, Names)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def shipped_distributions(requirements: Iterable[str]) -> frozenset[str]:
    """The distributions that the server comes with: those of its extra ``plugins``.

    :param requirements: of the server's own distribution, as its metadata has them.
    """
    marked = (line.partition(";") for line in requirements)
    return frozenset(
        plain(re.split(r"[^\w.-]", name.strip())[0])
        for name, _, rule in marked
        if EXTRA.search(rule)
    )
