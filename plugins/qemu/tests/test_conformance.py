"""A virtual machine does what every node type must do, and its plugin what every plugin must do."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from gns3server.testing import NodeTypeConformance, PluginConformance

GUEST = {"platform": "x86_64", "hda_disk_image": "echo.img", "ram": 16}


class TestQemuPlugin(PluginConformance):
    plugin = "qemu"


class TestQemu(NodeTypeConformance):
    node_type = "qemu"
    create_body: ClassVar[Mapping[str, Any]] = MappingProxyType({**GUEST, "adapters": 2})
    update_body: ClassVar[Mapping[str, Any]] = MappingProxyType({"ram": 32})
