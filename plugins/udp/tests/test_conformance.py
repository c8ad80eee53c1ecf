"""UDP tunnels do what every plugin must do."""

from __future__ import annotations

from gns3server.testing import PluginConformance


class TestUdp(PluginConformance):
    plugin = "udp"
