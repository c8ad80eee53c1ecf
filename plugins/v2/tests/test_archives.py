"""Snapshots, copies and archives."""

from __future__ import annotations

import io
import json
import stat
import uuid
import zipfile

import pytest
from v2_client import ends_of


@pytest.fixture
async def lab(client, project):
    """A project with two virtual PCs, a link and a drawing; its path, and its nodes."""
    nodes = [await client.vpcs(project, x=n, y=n) for n in range(2)]
    label = {"text": "here", "x": 3, "y": 4}
    ends = [*ends_of(nodes[:1], label=label), *ends_of(nodes[1:])]
    await client.post(f"{project}/links", {"nodes": ends, "filters": {"packet_loss": [5]}})
    await client.post(f"{project}/drawings", {"svg": "<svg/>", "x": 5, "y": 6})
    await client.send("POST", f"{project}/files/README.txt", data=b"about it", expect=201)
    return project, nodes


async def parts(client, project):
    """Nodes, links and drawings of a project."""
    return [await client.get(f"{project}/{part}") for part in ("nodes", "links", "drawings")]


@pytest.mark.statement("V2-34")
async def test_a_snapshot_brings_everything_back_with_its_ids(client, lab):
    project, nodes = lab
    before = await parts(client, project)
    made = await client.post(f"{project}/snapshots", {"name": "first"})
    assert await client.get(f"{project}/snapshots") == [made]
    assert isinstance(made["created_at"], int)
    await client.post(f"{project}/snapshots", {"name": "first"}, expect=409)
    await client.delete(f"{project}/nodes/{nodes[0]['node_id']}")
    await client.put(f"{project}/nodes/{nodes[1]['node_id']}", {"x": 77, "locked": True})
    (drawing,) = await client.get(f"{project}/drawings")
    await client.put(f"{project}/drawings/{drawing['drawing_id']}", {"x": 99}, expect=201)
    path = f"{project}/snapshots/{made['snapshot_id']}"
    async with client.listening() as everywhere, client.listening(project) as stream:
        restored = await client.post(f"{path}/restore")
        assert restored["status"] == "opened"
        await stream.wait_for("snapshot.restored", snapshot_id=made["snapshot_id"])
        told = stream.actions[: stream.actions.index("snapshot.restored")]
        assert told[-4:] == ["node.created", "node.created", "link.created", "drawing.created"]
        await everywhere.wait_for("project.opened")
        # The stream goes on.
        await client.put(project, {"zoom": 70})
        await client.vpcs(project)
        await stream.wait_for("node.created", name="PC3")
    after = await parts(client, project)
    assert [sorted(each, key=str) for each in [after[0][:2], *after[1:]]] == [
        sorted(each, key=str) for each in before
    ]
    await client.delete(path)
    await client.post(f"{path}/restore", expect=404)


@pytest.mark.statement("V2-35")
async def test_a_copy_has_ids_of_its_own_and_is_closed(client, lab):
    project, nodes = lab
    await client.post(f"{project}/nodes/start", expect=204)
    async with client.listening() as stream:
        copy = await client.post(f"{project}/duplicate", {"name": "copy"})
        assert (await stream.wait_for("project.created", name="copy"))["status"] == "closed"
    assert (copy["status"], copy["name"]) == ("closed", "copy")
    path = f"/projects/{copy['project_id']}"
    closed = await client.get(f"{path}/nodes")
    await client.post(f"{path}/open")
    opened, links, drawings = await parts(client, path)
    assert {node["node_id"] for node in closed} == {node["node_id"] for node in opened}
    assert not {node["node_id"] for node in opened} & {node["node_id"] for node in nodes}
    assert [(node["name"], node["x"]) for node in opened] == [("PC1", 0), ("PC2", 1)]
    assert links[0]["filters"] == {"packet_loss": [5]}
    assert links[0]["nodes"][0]["label"]["text"] == "here"
    assert len(drawings) == 1
    await client.post(f"{path}/nodes/start", expect=204)
    await client.post(f"{project}/duplicate", {"name": "copy"}, expect=409)


async def import_archive(client, content, expect=201, query=""):
    """Import an archive under a new id."""
    path = f"/projects/{uuid.uuid4()}/import{query}"
    return await client.send("POST", path, data=content, expect=expect)


@pytest.mark.statement("V2-36")
@pytest.mark.parametrize("compression", ["zip", "none", "bzip2", "lzma"])
async def test_an_archive_goes_out_and_comes_back(client, lab, compression):
    project, nodes = lab
    script = f"{project}/nodes/{nodes[0]['node_id']}/files/startup.vpc"
    await client.send("POST", script, data=b"ip 10.0.0.1\n", expect=201)
    content = await client.get(f"{project}/export?include_images=no&compression={compression}")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        described = json.loads(archive.read("project.gns3"))
    assert f"project-files/vpcs/{nodes[0]['node_id']}/startup.vpc" in names
    assert not [name for name in names if name.startswith((".", "project.db"))]
    assert (described["revision"], described["type"]) == (9, "topology")
    shown = await import_archive(client, content, query="?name=again")
    assert (shown["status"], shown["name"]) == ("closed", "again")
    path = f"/projects/{shown['project_id']}"
    await client.post(f"{path}/open")
    new, links, drawings = await parts(client, path)
    assert [(n["name"], n["x"]) for n in new] == [("PC1", 0), ("PC2", 1)]
    assert not {node["node_id"] for node in new} & {node["node_id"] for node in nodes}
    assert len(links) == len(drawings) == 1
    assert await client.get(f"{path}/nodes/{new[0]['node_id']}/files/startup.vpc") == (
        b"ip 10.0.0.1\n"
    )
    assert await client.get(f"{path}/files/README.txt") == b"about it"
    await client.post(f"{path}/nodes/start", expect=204)
    assert (await import_archive(client, content, query="?name=again"))["name"] == "again-1"


@pytest.mark.statement("V2-36")
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
async def test_snapshots_go_out_when_asked_for_and_come_back(client, lab, is_open):
    project, nodes = lab
    script = f"nodes/{nodes[0]['node_id']}/files/startup.vpc"
    await client.send("POST", f"{project}/{script}", data=b"ip 10.0.0.1\n", expect=201)
    before = await parts(client, project)
    for name in ("first", "a/b: 2 % ü"):
        await client.post(f"{project}/snapshots", {"name": name})
        await client.send("POST", f"{project}/{script}", data=b"ip 10.0.0.2\n", expect=201)
        await client.put(f"{project}/nodes/{nodes[0]['node_id']}", {"name": "changed", "x": 99})
        await client.delete(f"{project}/nodes/{nodes[1]['node_id']}", expect=None)
    made = await client.get(f"{project}/snapshots")
    if not is_open:
        await client.post(f"{project}/close", expect=204)
    with zipfile.ZipFile(io.BytesIO(await client.get(f"{project}/export"))) as archive:
        assert not [name for name in archive.namelist() if name.startswith("snapshots/")]
    content = await client.get(f"{project}/export?include_snapshots=yes")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        inner = archive.read("snapshots/first.gns3project")
    with zipfile.ZipFile(io.BytesIO(inner)) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("project.gns3"))["topology"]["nodes"][0]["name"] == "PC1"
    path = f"/projects/{(await import_archive(client, content))['project_id']}"
    came = await client.get(f"{path}/snapshots")
    assert [each["name"] for each in came] == [each["name"] for each in made]
    assert not {s["snapshot_id"] for s in came} & {s["snapshot_id"] for s in made}
    assert all(abs(a["created_at"] - b["created_at"]) <= 2 for a, b in zip(made, came, strict=True))
    await client.post(f"{path}/open")
    (now,) = await client.get(f"{path}/nodes")
    await client.post(f"{path}/snapshots/{came[0]['snapshot_id']}/restore")
    after = await parts(client, path)
    first = after[0][0]
    assert (first["node_id"], first["console"]) == (now["node_id"], now["console"])
    assert [(n["name"], n["x"]) for n in after[0]] == [(n["name"], n["x"]) for n in before[0]]
    assert [len(part) for part in after] == [len(part) for part in before]
    assert after[1][0]["filters"] == {"packet_loss": [5]}
    new_script = f"{path}/nodes/{first['node_id']}/files/startup.vpc"
    assert await client.get(new_script) == b"ip 10.0.0.1\n"
    await client.post(f"{path}/nodes/start", expect=204)


def zipped(*files, described=None):
    """An archive of these files: names, contents and perhaps the attributes of each."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        if described is not None:
            archive.writestr("project.gns3", json.dumps(described))
        for name, content, *mode in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (mode[0] if mode else stat.S_IFREG | 0o600) << 16
            archive.writestr(info, content)
    return target.getvalue()


NODE = {"node_id": str(uuid.uuid4()), "node_type": "vpcs", "name": "PC1"}
OTHER = {"node_id": str(uuid.uuid4()), "node_type": "vpcs", "name": "PC2"}


def linked(*ends, port=0, **more):
    """A link of a file between two nodes."""
    nodes = [{"node_id": end["node_id"], "adapter_number": 0, "port_number": port} for end in ends]
    return {"link_id": str(uuid.uuid4()), "nodes": nodes, **more}


def lab_of(*links, nodes=(NODE, OTHER), **more):
    """A project file with two nodes."""
    return {**LAB, "topology": {"nodes": list(nodes), "links": list(links)}, **more}


LAB = {
    "name": "lab",
    "project_id": str(uuid.uuid4()),
    "revision": 9,
    "topology": {"nodes": [], "links": [], "drawings": [], "computes": []},
}


def with_snapshot(content, name="first"):
    """An archive with a snapshot."""
    return zipped((f"snapshots/{name}.gns3project", content), described=LAB)


@pytest.mark.statement("V2-37")
@pytest.mark.parametrize(
    "content",
    [
        with_snapshot(b"no archive at all"),
        with_snapshot(zipped(("../outside", b"x"), described=LAB)),
        with_snapshot(zipped(described={**LAB, "topology": None})),
        with_snapshot(zipped(described=LAB)[:-5]),
        with_snapshot(zipped(described=LAB), name="a" * 201),
        b"no archive at all",
        zipped(("README.txt", b"x")),
        zipped(("../outside", b"x"), described=LAB),
        zipped(("/etc/passwd", b"x"), described=LAB),
        zipped(("a\\..\\b", b"x"), described=LAB),
        zipped(("link", b"/etc/passwd", stat.S_IFLNK | 0o777), described=LAB),
        zipped(("bomb", b"\0" * 200_000_000), described=LAB)[:-30],
        zipped(described={**LAB, "revision": 1}),
        zipped(described={**LAB, "topology": None}),
        zipped(described=LAB)[:-5],
        zipped(("a" * 300, b"x"), described=LAB),
        zipped(
            (f"project-files/vpcs/{NODE['node_id']}/a", b"x"),
            (f"project-files/vpcs/{NODE['node_id']}/a/b", b"x"),
            described=LAB,
        ),
        zipped(described={**LAB, "name": "\ud800"}),
        zipped(described={**LAB, "of_tomorrow": json.loads("[" * 200 + "]" * 200)}),
        zipped(described=lab_of(linked(NODE, NODE))),
        zipped(described=lab_of(linked(NODE, OTHER), linked(OTHER, NODE))),
        zipped(described=lab_of(linked(NODE, OTHER, filters={"packet_loss": [500]}))),
        zipped(described=lab_of(linked(NODE, OTHER, filters={"of_tomorrow": 5}))),
        zipped(described=lab_of(nodes=[{**NODE, "properties": {"startup_script": 5}}])),
    ],
    ids=[
        "snapshot-none",
        "snapshot-outside",
        "snapshot-unlike",
        "snapshot-cut-off",
        "snapshot-name",
        "none",
        "without-project",
        "outside",
        "absolute",
        "backslash",
        "symlink",
        "cut-off",
        "old",
        "no-topology",
        "cut-end",
        "long-name",
        "below-a-file",
        "no-text",
        "too-deep",
        "own-end",
        "taken-port",
        "filter-beyond",
        "filter-unlike",
        "property-unlike",
    ],
)
async def test_a_broken_or_hostile_archive_leaves_nothing_behind(client, gns3_settings, content):
    await import_archive(client, content, expect=409)
    assert await client.get("/projects") == []
    projects = gns3_settings.projects_path
    assert [path for path in projects.iterdir() if not path.name.startswith(".")] == []


async def test_what_is_wrong_with_an_archive_is_told_with_its_place(client):
    broken = zipped(described=lab_of(nodes=[{**NODE, "x": "left"}]))
    refused = await import_archive(client, broken, expect=409)
    assert refused["message"].endswith("broken: topology.nodes.0.x: must be a number.")


async def test_a_link_at_a_port_that_a_node_does_not_have_is_left_out(client):
    described = lab_of(linked(NODE, OTHER), linked(NODE, OTHER, port=7))
    shown = await import_archive(client, zipped(described=described))
    await client.post(f"/projects/{shown['project_id']}/open")
    (link,) = await client.get(f"/projects/{shown['project_id']}/links")
    assert {end["port_number"] for end in link["nodes"]} == {0}


async def test_an_archive_that_grows_beyond_measure_is_refused(client):
    small = zipped(("bomb", b"\0" * 3_000_000), described=LAB)
    # Its directory says that it is much larger than it is.
    real, lie = (3_000_000).to_bytes(4, "little"), (4_000_000_000).to_bytes(4, "little")
    await import_archive(client, small.replace(real, lie), expect=409)
    assert await client.get("/projects") == []
