"""Events that plugins define themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gns3server.calls import current_plugin
from gns3server.errors import Conflict
from gns3server.events import Event

EVENT_BYTES = 64 * 1024
"""How long the values of an event may be, as JSON."""

OWN_KINDS = ("node", "vm", "link", "snapshot", "log")
"""The kinds of the core's own events. No plugin can tell these, whatever its name."""


def plugin_event(name: str, project_id: str, values: Mapping[str, Any]) -> Event:
    """An event that the calling plugin defines itself.

    :param name: the plugin's name and a word of its own, joined by a dot.
    :param project_id: the project that it concerns; empty if there is none.
    :raises ValueError: the name does not begin with the plugin's, or JSON cannot hold the values.
    :raises Conflict: it is too long.
    """
    plugin = current_plugin()
    word = name.removeprefix(f"{plugin}.")
    if word == name or not word or plugin in OWN_KINDS:
        raise ValueError(f"{name!r:.80} is not an event of the plugin: begin it with '{plugin}.'")
    text = json.dumps(dict(values), allow_nan=False)
    if len(text) > EVENT_BYTES:
        raise Conflict(
            f"The event {name!r:.80} has {len(text)} bytes as JSON, and was not told: send at most "
            f"{EVENT_BYTES}, and let clients ask for the rest."
        )
    return Event(plugin, word, project_id, json.loads(text))
