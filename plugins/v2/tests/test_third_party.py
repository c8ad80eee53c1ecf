"""Nodes whose type no client knows, from a plugin that knows nothing of this API."""

from __future__ import annotations

import asyncio
import shlex

import pytest
from v2_client import v2_client

PLUGIN = """
import sys
from gns3server import plugin


class Beacon(plugin.ProcessNode):
    async def launch_spec(self):
        argv = (sys.executable, "-c", "import signal; signal.pause()")
        return plugin.LaunchSpec(argv=argv, cwd=str(self.directory))


@plugin.hookimpl
def gns3_node_types():
    return [
        plugin.NodeType(
            name="beacon",
            title="Beacon",
            node_class=Beacon,
            create_schema=plugin.NodeCreateSchema,
            update_schema=plugin.NodeUpdateSchema,
            object_schema=plugin.NodeObjectSchema,
            nio_types=("nio_udp",),
            adapters=2,
            console=False,
            presentation=plugin.Presentation(
                symbol="firewall", category="firewall", known_as="docker", port_name="lan{1}"
            ),
        )
    ]
"""


@pytest.fixture
def site(tmp_path):
    """A folder in which the plugin is installed."""
    folder = tmp_path / "site"
    info = folder / "gns3server_beacon-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gns3server-beacon\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gns3server.plugins]\nbeacon = beacon_plugin\n")
    (folder / "beacon_plugin.py").write_text(PLUGIN)
    return folder


@pytest.mark.statement("V2-41")
async def test_a_type_of_another_plugin_is_shown_under_a_name_that_clients_know(gns3_process, site):
    environ = {"PYTHONPATH": str(site)}
    async with gns3_process(environ=environ) as server, v2_client(server.client.url) as client:
        (compute,) = await client.get("/computes")
        assert "docker" in compute["capabilities"]["node_types"]
        (template,) = [t for t in await client.get("/templates") if t["name"] == "Beacon"]
        assert (template["template_type"], template["category"]) == ("docker", "firewall")
        project = await client.project()
        path = f"{project}/templates/{template['template_id']}"
        made = await asyncio.gather(*(client.post(path, {"x": x, "y": 0}) for x in range(2)))
        assert {node["name"] for node in made} == {"Beacon-1", "Beacon-2"}
        node = made[0]
        assert (node["node_type"], node["symbol"]) == ("docker", ":/symbols/firewall.svg")
        assert (node["console"], node["console_type"]) == (None, "none")
        assert [(port["name"], port["adapter_number"]) for port in node["ports"]] == [
            ("lan0", 0),
            ("lan1", 1),
        ]
        started = await client.post(f"{project}/nodes/{node['node_id']}/start", expect=200)
        assert shlex.split(started["command_line"])[1] == "-c"
        assert (await server.client.get(f"/v1{project}/beacon/vms/{node['node_id']}")).status == 200
        await client.delete(project)
