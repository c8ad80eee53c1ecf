"""Plugins of version 0.1 run as they are: what has another name now warns until 0.3."""

from __future__ import annotations

import asyncio
import sys
import warnings
from pathlib import Path
from urllib.request import urlopen

import pytest
from api_calls import new_project

from gns3server import plugin

OLD = Path(__file__).parents[1] / "compatibility"


async def test_the_tutorials_plugin_of_0_1_runs_unchanged(
    gns3_serving, make_entry_point, monkeypatch
):
    monkeypatch.syspath_prepend(OLD)
    monkeypatch.delitem(sys.modules, "gns3server_web", raising=False)
    async with gns3_serving(plugins=[make_entry_point("web", "gns3server_web")]) as server:
        client, project = server.client, await new_project(server.client)
        answer = await client.post(f"{project}/web/vms", {"name": "W", "page": "Hello"})
        node = f"{project}/web/vms/{answer.json['vm_id']}"
        assert (await client.post(f"{node}/start")).status == 204
        url = f"http://127.0.0.1:{answer.json['console']}/"
        assert await asyncio.to_thread(lambda: urlopen(url).read()) == b"Hello"
        assert (await client.post(f"{node}/stop")).status == 204
    sys.modules.pop("gns3server_web", None)


async def test_every_old_name_works_and_warns(gns3_serving, make_entry_point):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", DeprecationWarning)
        async with gns3_serving(plugins=[make_entry_point("old", "old_names")]) as server:
            client, project = server.client, await new_project(server.client)
            assert (await client.post("/v1/old/look")).status == 204
            node = await client.post(f"{project}/old/vms", {"name": "O"})
            async with client.listen(f"{project}/notifications") as events:
                assert await anext(events) == {"action": "ping"}
                assert (await client.get(f"{project}/old/vms/{node.json['vm_id']}")).status == 200
                assert (await anext(events))["action"] == "vm.started"
            nio = f"{project}/old/vms/{node.json['vm_id']}/adapters/0/ports/0/nio"
            answer = await client.post(nio, {"type": "nio_old"})
            assert (answer.status, answer.json["message"]) == (409, "checked as before: {}")
    told = {str(warning.message).split()[0] for warning in warned}
    assert told == {
        "Call.lab",
        "Lab.config",
        "Lab.hub",
        "Lab.images",
        "Lab.manager",
        "Lab.stop",
        "Node.home",
        "home.announce",
        "NioType.check(values)",
        "gns3server.plugin.Lab",
        "gns3server.plugin.find_program",
        "gns3server.plugin.is_interface_up",
        "gns3server.plugin.resolve_ipv4",
        "gns3server.plugin.run_tool",
    }
    assert {Path(warning.filename).name for warning in warned} == {"old_names.py"}


def test_a_name_that_never_was_is_no_old_one():
    with pytest.raises(AttributeError, match="Laboratory"):
        getattr(plugin, "Laboratory")  # noqa: B009
