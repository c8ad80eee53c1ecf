"""A virtual PC does what every node type must do, and its plugin what every plugin must do."""

from __future__ import annotations

from gns3server.testing import NodeTypeConformance, PluginConformance


class TestVpcsPlugin(PluginConformance):
    plugin = "vpcs"


class TestVpcs(NodeTypeConformance):
    node_type = "vpcs"
    needs_wire = True
