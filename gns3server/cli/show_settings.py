"""Every setting with its value and the source of that (``settings``)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gns3server.settings.schema import COMMAND_LINE, Settings
from gns3server.settings.server import SERVER_SETTINGS, Setting
from gns3server.settings.sources import ENVIRONMENT_PREFIX, config_files
from gns3server.settings.unknown import unknown_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gns3server.plugin_host.host import PluginHost

HIDDEN = "(set, and not shown)"


def ask_plugins(settings: Settings) -> PluginHost:
    """The installed plugins, asked only for their settings. Failures are not logged."""
    from gns3server.plugin_host.host import PluginHost

    host = PluginHost(settings)
    with _silence():
        host.load()
        host.read_schemas()
    return host


def show_settings(settings: Settings) -> int:
    """Print all settings; return the exit code, 1 if a plugin cannot use its section."""
    host, code = ask_plugins(settings), 0
    print("Later entries in this list win:\n  default")
    for path in config_files(settings.environ):
        print(f"  {path}{'' if path in settings.said else ' (not there)'}")
    print(f"  environment variables {ENVIRONMENT_PREFIX}...\n  {COMMAND_LINE}")
    _show("Server", settings, SERVER_SETTINGS, vars(settings.server))
    for plugin in host.plugins:
        if plugin.phase or plugin.config_schema is None:
            continue
        try:
            values = plugin.read_section(settings)
        except Exception as error:
            print(f"\n[{plugin.name}]\ncannot be used: {error}")
            code = 1
        else:
            _show(plugin.name, settings, plugin.settings(), values)
    for warning in (*settings.warnings, *unknown_names(settings, host.setting_names())):
        print(f"\n{warning}")
    for plugin in host.plugins:
        if plugin.phase:
            print(f"\nplugin {plugin.name}: {plugin.phase}: {plugin.message}")
            code = 1
    return code


def _show(
    title: str, settings: Settings, declared: Iterable[Setting], values: Mapping[str, Any]
) -> None:
    given = settings.given(title)
    print(f"\n[{title}]")
    for setting in declared:
        source = given[setting.name].source if setting.name in given else "default"
        print(f"{setting.name} = {_shown(setting, values.get(setting.name))}".ljust(45), source)


def _shown(setting: Setting, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return HIDDEN if setting.secret and value else str(value)


@contextmanager
def _silence() -> Iterator[None]:
    log, handler = logging.getLogger("gns3server"), logging.NullHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
