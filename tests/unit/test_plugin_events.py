"""Events of plugins' own: named for the plugin, of JSON, bounded."""

from __future__ import annotations

import pytest

from gns3server.calls import on_behalf_of
from gns3server.errors import Conflict
from gns3server.events import Event
from gns3server.nodes.plugin_events import EVENT_BYTES, plugin_event


def test_its_name_begins_with_the_plugin_s():
    with on_behalf_of("toy"):
        assert plugin_event("toy.word", "p", {"a": (1,)}) == Event("toy", "word", "p", {"a": [1]})
        for name in ("other.word", "toy", "toy.", "toyword", ""):
            with pytest.raises(ValueError, match=r"begin it with 'toy\.'"):
                plugin_event(name, "p", {})


@pytest.mark.parametrize("plugin", ["node", "vm", "log"])
def test_no_plugin_tells_what_the_core_does(plugin):
    with on_behalf_of(plugin), pytest.raises(ValueError, match="is not an event of the plugin"):
        plugin_event(f"{plugin}.created", "p", {})


def test_it_is_bounded():
    with on_behalf_of("toy"):
        plugin_event("toy.word", "p", {"a": "x" * (EVENT_BYTES - 9)})
        with pytest.raises(Conflict, match="65537 bytes as JSON"):
            plugin_event("toy.word", "p", {"a": "x" * (EVENT_BYTES - 8)})
        with pytest.raises(ValueError, match="JSON"):
            plugin_event("toy.word", "p", {"a": float("nan")})


def test_nobody_else_has_events_of_a_plugin():
    with pytest.raises(RuntimeError, match="only the code of a plugin"):
        plugin_event("toy.word", "p", {})
