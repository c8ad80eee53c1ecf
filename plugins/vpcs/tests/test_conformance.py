"""A virtual PC does what every node type must do."""

from __future__ import annotations

from gns3server.testing import NodeTypeConformance


class TestVpcs(NodeTypeConformance):
    node_type = "vpcs"
    needs_wire = True
