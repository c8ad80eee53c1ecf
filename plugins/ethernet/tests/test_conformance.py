"""A switch and a hub do what every node type must do."""

from __future__ import annotations

import pytest

from gns3server.testing import NodeTypeConformance, PluginConformance


class TestSwitch(NodeTypeConformance):
    node_type = "ethernet_switch"


@pytest.mark.heavy
class TestHub(NodeTypeConformance):
    node_type = "ethernet_hub"


class TestPlugin(PluginConformance):
    plugin = "ethernet"
