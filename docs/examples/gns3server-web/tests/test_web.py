"""Tests of the plugin, with a real server and the real program."""

import asyncio
from urllib.request import urlopen

from gns3server.testing import NodeTypeConformance


class TestWhatEveryNodeTypeMustDo(NodeTypeConformance):
    node_type = "web"


def fetch(port):
    with urlopen(f"http://127.0.0.1:{port}/") as response:
        return response.read()


async def test_it_serves_its_page(gns3_client, gns3_project):
    answer = await gns3_client.post(f"{gns3_project}/web/vms", {"name": "W", "page": "Hello"})
    assert answer.status == 201
    node = f"{gns3_project}/web/vms/{answer.json['vm_id']}"

    assert (await gns3_client.post(f"{node}/start")).status == 204
    assert await asyncio.to_thread(fetch, answer.json["console"]) == b"Hello"


async def test_a_changed_page_is_served_after_a_reload(gns3_client, gns3_project):
    answer = await gns3_client.post(f"{gns3_project}/web/vms", {"name": "W"})
    node = f"{gns3_project}/web/vms/{answer.json['vm_id']}"
    await gns3_client.post(f"{node}/start")

    assert (await gns3_client.put(node, {"page": "New"})).json["page"] == "New"
    await gns3_client.post(f"{node}/reload")
    assert await asyncio.to_thread(fetch, answer.json["console"]) == b"New"


async def test_the_program_is_a_setting(gns3_serving):
    async with gns3_serving(sections={"web": {"python_path": "/missing/python"}}) as server:
        project = (await server.client.post("/v1/projects", {"name": "test"})).json["project_id"]
        nodes = f"/v1/projects/{project}/web/vms"
        vm = (await server.client.post(nodes, {"name": "W"})).json["vm_id"]

        answer = await server.client.post(f"{nodes}/{vm}/start")
        assert answer.status == 409
        assert "/missing/python" in answer.json["message"]
