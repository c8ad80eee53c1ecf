"""The version gate, and errors."""

from __future__ import annotations

import pytest


@pytest.mark.statement("V2-05")
async def test_a_desktop_client_is_told_its_own_version(client):
    assert await client.get("/version") == {"version": "2.2.49", "local": True}
    assert await client.post("/version", {"version": "2.2.49"}, expect=200)


@pytest.mark.statement("V2-05")
@pytest.mark.parametrize("agent", ["python-requests/2", "GNS3 QT Client v3.0.1", ""])
async def test_all_others_are_told_one_of_the_2_2_series(gns3_client, agent):
    answer = await gns3_client.request("GET", "/v2/version", headers={"User-Agent": agent})
    assert answer.json["version"].startswith("2.2.")
    refused = await gns3_client.request("POST", "/v2/version", {"version": "2.1.1"})
    assert refused.status == 409


async def test_the_version_can_be_set(gns3_serving):
    sections = {"v2": {"version": "2.2.7", "echo_version": "no"}}
    async with gns3_serving(sections=sections) as server:
        headers = {"User-Agent": "GNS3 QT Client v2.2.49"}
        answer = await server.client.request("GET", "/v2/version", headers=headers)
    assert answer.json["version"] == "2.2.7"


@pytest.mark.statement("V2-01", "V2-02")
async def test_errors_have_the_shape_that_clients_read(gns3_client):
    for path in ("/v2/nothing", "/v2/projects/no-id", "/v2/projects/no-id/nodes"):
        answer = await gns3_client.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json"), path
        assert set(answer.json) == {"message", "status"}
    refused = await gns3_client.post("/v2/projects", {"name": 7})
    assert refused.status == 400
    assert refused.json["method"] == "POST"
    assert refused.json["path"] == "/v2/projects"
    assert refused.json["request"] == {"name": 7}
