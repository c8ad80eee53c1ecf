"""The installed plugins, and what is wrong with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gns3server.cli.doctor.report import Finding, Section
from gns3server.http.application import CORE_ROUTES
from gns3server.nodes.registry import Registry
from gns3server.plugin_host.host import PluginHost
from gns3server.settings.schema import Settings

NONE = "No plugin is installed, so nothing can run: install some beside the server (see README)."


def load_plugins(settings: Settings) -> tuple[PluginHost, Registry]:
    """All installed plugins, and what those in service offer. Failures are not logged."""
    logging.basicConfig(handlers=[logging.NullHandler()])
    host, registry = PluginHost(settings), Registry()
    host.load()
    host.gather(registry, CORE_ROUTES)
    return host, registry


def show_plugins(settings: Settings) -> int:
    """Print every plugin in full, with the traceback of each that failed (``plugins``)."""
    host, _ = load_plugins(settings)
    if not host.plugins:
        print(NONE)
    for plugin in host.plugins:
        report = plugin.report()
        print(
            f"{plugin.name} {plugin.version or '-'} ({plugin.distribution or '-'}): "
            f"{report['status']}"
        )
        for title in ("node_types", "nio_types", "routes"):
            for item in report[title]:
                print(f"    {title.removesuffix('s').replace('_', ' ')}: {item}")
        if plugin.trace:
            print(f"    failed in {plugin.phase}:\n{plugin.trace}")
    return 0 if all(plugin.phase is None for plugin in host.plugins) else 1


def plugins(host: PluginHost, programs: Mapping[str, Finding]) -> Section:
    """The status of each plugin.

    :param programs: what the nodes of a type run, by the name of the type.
    """
    entries = []
    for plugin in host.plugins:
        report, failed = plugin.report(), plugin.phase is not None
        text = f"{plugin.name} {plugin.version or '-'}: {report['status']}"
        advice = f"In {plugin.phase}: {plugin.message}. See gns3server plugins." if failed else ""
        entries.append(Finding(text, problem=failed, advice=advice))
        entries += [programs[name] for name in report["node_types"] if name in programs]
    return Section("Plugins", entries)
