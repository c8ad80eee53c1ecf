"""What can be done with a project that is closed, and what cannot."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from v2_client import ends_of


@pytest.fixture
async def lab(client, project):
    """The path of a closed project with two nodes, and what it showed while it was open."""
    nodes = [await client.vpcs(project, x=n, y=n) for n in range(2)]
    link = await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
    drawing = await client.post(f"{project}/drawings", {"svg": "<svg/>", "x": 5, "y": 6})
    snapshot = await client.post(f"{project}/snapshots", {"name": "first"})
    await client.send("POST", f"{project}/files/README.txt", data=b"about it", expect=201)
    await client.post(f"{project}/close", expect=204)
    return project, {"nodes": nodes, "link": link, "drawing": drawing, "snapshot": snapshot}


@pytest.mark.statement("V2-09")
async def test_all_of_it_is_read_as_if_it_were_open(client, lab):
    project, before = lab
    first, link, drawing = before["nodes"][0], before["link"], before["drawing"]
    assert await client.get(f"{project}/snapshots") == [before["snapshot"]]
    assert await client.get(f"{project}/stats") == {
        "nodes": 2,
        "links": 1,
        "drawings": 1,
        "snapshots": 1,
    }
    assert await client.get(f"{project}/links/{link['link_id']}") == link
    assert await client.get(f"{project}/nodes/{first['node_id']}/links") == [link]
    assert await client.get(f"{project}/drawings/{drawing['drawing_id']}") == drawing
    assert await client.get(f"{project}/files/README.txt") == b"about it"
    for path in ("links", "drawings", "nodes"):
        await client.get(f"{project}/{path}/{first['project_id']}", expect=404)
    await client.get(f"{project}/files/project.db", expect=403)


@pytest.mark.statement("V2-36")
async def test_it_is_exported_and_nothing_is_left_of_that(client, lab, gns3_settings):
    project, before = lab
    places = set(gns3_settings.projects_path.iterdir())
    content = await client.get(f"{project}/export")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        described = json.loads(archive.read("project.gns3"))
        assert archive.read("README.txt") == b"about it"
        script = f"project-files/vpcs/{before['nodes'][0]['node_id']}/startup.vpc"
        assert archive.read(script) == b"set pcname PC1\n"
    assert [node["name"] for node in described["topology"]["nodes"]] == ["PC1", "PC2"]
    assert set(gns3_settings.projects_path.iterdir()) == places
    assert len(await client.get("/projects")) == 1


def spoil(file, text):
    """Put a text in the place of a file, or nothing."""
    file.unlink()
    if text is not None:
        file.write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"name": 5, "zoom": "x", "topology": "x"}',
        '{"topology": {"nodes": 5, "links": {}, "drawings": ["x", {}]}}',
        '{"topology": {"nodes": ["x", {"node_id": 5}, {"node_id": "x", "properties": "x"}]}}',
        '{"topology": {"links": [{}, {"link_id": "x", "nodes": [1]}, {"link_id": "x"}]}}',
        None,
    ],
)
async def test_a_file_that_somebody_has_spoilt_hides_what_it_spoils(client, lab, text):
    project, before = lab
    spoil(Path((await client.get(project))["path"], "project.gns3"), text)
    assert (await client.get(project))["zoom"] == 100
    node = before["nodes"][0]["node_id"]
    for path in ("nodes", "links", "drawings"):
        assert await client.get(f"{project}/{path}") == []
    for path in (f"nodes/{node}", f"nodes/{node}/links"):
        await client.get(f"{project}/{path}", expect=404)
    assert len(await client.get("/projects")) == 1
    # Nothing is lost.
    await client.post(f"{project}/open")
    assert len(await client.get(f"{project}/nodes")) == 2


@pytest.mark.statement("V2-09")
async def test_what_changes_it_is_refused_and_says_what_to_do(client, lab):
    project, before = lab
    snapshot = f"{project}/snapshots/{before['snapshot']['snapshot_id']}"
    for method, path, body in (
        ("PUT", project, {"zoom": 50}),
        ("POST", f"{project}/snapshots", {"name": "second"}),
        ("POST", f"{snapshot}/restore", None),
        ("DELETE", snapshot, None),
        ("POST", f"{project}/drawings", {"svg": "<svg/>"}),
        ("POST", f"{project}/nodes/start", None),
    ):
        refused = await client.send(method, path, body, expect=404)
        assert "open it" in refused["message"], path
    await client.post(f"{project}/open")
    assert await client.get(f"{project}/snapshots") == [before["snapshot"]]
