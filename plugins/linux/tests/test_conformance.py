"""A host and a router do what every node type must do."""

from __future__ import annotations

import pytest

from gns3server.testing import NodeTypeConformance, PluginConformance


class TestLinux(NodeTypeConformance):
    node_type = "linux"


@pytest.mark.heavy
class TestFrr(NodeTypeConformance):
    node_type = "frr"


class TestPlugin(PluginConformance):
    plugin = "linux"
