"""The installed plugins, and what is wrong with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gns3server.cli.doctor.programs import ask_abilities, found
from gns3server.cli.doctor.report import Finding, Section
from gns3server.http.application import CORE_ROUTES
from gns3server.nodes.examining import TypeAbility
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
    host, registry = load_plugins(settings)
    abilities = ask_abilities(settings, registry)
    if not host.plugins:
        print(NONE)
    # What has failed comes last, where it is seen first.
    for plugin in sorted(host.plugins, key=lambda plugin: plugin.phase is not None):
        report = plugin.report()
        status = _status(report, abilities)
        print(f"{plugin.name} {plugin.version or '-'} ({plugin.distribution or '-'}): {status}")
        for name in report["node_types"]:
            print(f"    node type: {name}: {abilities[name].text}")
        for title in ("nio_types", "routes"):
            for item in report[title]:
                print(f"    {title.removesuffix('s').replace('_', ' ')}: {item}")
        if plugin.trace:
            print(f"    failed in {plugin.phase}:\n{plugin.trace}")
    return 0 if all(plugin.phase is None for plugin in host.plugins) else 1


def plugins(host: PluginHost, abilities: Mapping[str, TypeAbility]) -> Section:
    """The status of each plugin, and of its node types.

    :param abilities: whether the nodes of a type can run, by the name of the type.
    """
    entries = []
    for plugin in host.plugins:
        report, failed = plugin.report(), plugin.phase is not None
        text = f"{plugin.name} {plugin.version or '-'}: {_status(report, abilities)}"
        advice = f"In {plugin.phase}: {plugin.message}. See gns3server plugins." if failed else ""
        entries.append(Finding(text, problem=failed, advice=advice))
        entries += [found(abilities[name]) for name in report["node_types"]]
    return Section("Plugins", entries)


def _status(report: Mapping[str, Any], abilities: Mapping[str, TypeAbility]) -> str:
    """The status of a plugin, and which of its types cannot run."""
    missing = [name for name in report["node_types"] if abilities[name].runs is False]
    if not missing:
        return str(report["status"])
    return f"{report['status']}, but nodes of the type {', '.join(missing)} cannot run here"
