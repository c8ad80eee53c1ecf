"""Archives with images and with addresses of nodes, whose type another plugin offers."""

from __future__ import annotations

import io
import json
import uuid
import zipfile

import pytest
from v2_client import v2_client

PLUGIN = """
import sys
from marshmallow import fields
from gns3server import plugin


class Box(plugin.ProcessNode):
    async def launch_spec(self):
        argv = (sys.executable, "-c", "import signal; signal.pause()")
        return plugin.LaunchSpec(argv=argv, cwd=str(self.directory))


class Create(plugin.NodeCreateSchema):
    path = fields.String(load_default="")
    mac_address = fields.String(load_default="of its own")


class Update(plugin.NodeUpdateSchema):
    path = fields.String()
    mac_address = fields.String()


class Shown(plugin.NodeObjectSchema):
    path = fields.String(required=True)
    mac_address = fields.String(required=True)


@plugin.hookimpl
def gns3_node_types():
    return [
        plugin.NodeType(
            name="iou",
            title="Box",
            node_class=Box,
            create_schema=Create,
            update_schema=Update,
            object_schema=Shown,
            nio_types=("nio_udp",),
            console=False,
            image_kinds=(plugin.ImageKind(name="BOX", directory="BOX", title="Box"),),
        )
    ]
"""


@pytest.fixture
async def client(gns3_process, tmp_path):
    """A desktop client of a server with that plugin."""
    info = tmp_path / "site" / "gns3server_box-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gns3server-box\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gns3server.plugins]\nbox = box_plugin\n")
    (info.parent / "box_plugin.py").write_text(PLUGIN)
    environ = {"PYTHONPATH": str(info.parent)}
    async with gns3_process(environ=environ) as server, v2_client(server.client.url) as client:
        yield client


@pytest.fixture
async def lab(client):
    """The path of a project with a node that boots from an image, beside another image."""
    project = await client.project()
    for name in ("box.bin", "other.bin"):
        path = f"/computes/local/iou/images/{name}"
        await client.send("POST", path, data=name.encode() * 1000)
    properties = {"path": "box.bin", "mac_address": "02:00:00:00:00:01"}
    node = {"name": "B1", "node_type": "iou", "compute_id": "local", "properties": properties}
    await client.post(f"{project}/nodes", node)
    return project


async def import_archive(client, content, expect=201):
    """Import an archive, and open it; its path."""
    path = f"/projects/{uuid.uuid4()}"
    await client.send("POST", f"{path}/import", data=content, expect=expect)
    if expect == 201:
        await client.post(f"{path}/open")
    return path


def names(content, beginning=""):
    """The names of the files of an archive that begin so."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return [name for name in archive.namelist() if name.startswith(beginning)]


@pytest.mark.statement("V2-36")
async def test_images_that_nodes_name_go_out_when_asked_for_and_come_back(
    client, lab, gns3_settings
):
    assert names(await client.get(f"{lab}/export"), "images/") == []
    content = await client.get(f"{lab}/export?include_images=yes")
    assert names(content, "images/") == ["images/BOX/box.bin"]
    image = gns3_settings.images_path / "BOX" / "box.bin"
    image.unlink()
    came = await import_archive(client, content)
    assert image.read_bytes() == b"box.bin" * 1000
    (node,) = await client.get(f"{came}/nodes")
    assert node["properties"]["path"] == "box.bin"
    # What is there stays as it is.
    image.write_bytes(b"another one")
    await import_archive(client, content)
    assert image.read_bytes() == b"another one"
    assert {each.name for each in image.parent.iterdir() if each.suffix != ".md5sum"} == {
        "box.bin",
        "other.bin",
    }


async def test_images_that_only_a_snapshot_names_go_with_it(client, lab):
    await client.post(f"{lab}/snapshots", {"name": "first"})
    (node,) = await client.get(f"{lab}/nodes")
    await client.delete(f"{lab}/nodes/{node['node_id']}")
    assert names(await client.get(f"{lab}/export?include_images=yes"), "images/") == []
    content = await client.get(f"{lab}/export?include_images=yes&include_snapshots=yes")
    assert names(content, "images/") == ["images/BOX/box.bin"]


@pytest.mark.statement("V2-37")
@pytest.mark.parametrize(
    "name", ["images/BOX/.hidden", "images/BOX/box.md5sum", "images/BOX/../../outside"]
)
async def test_an_archive_with_an_image_of_an_unfit_name_leaves_nothing(
    client, lab, gns3_settings, name
):
    content = add(await client.get(f"{lab}/export"), "images/BOX/new.bin", name)
    before = await client.get("/projects")
    await import_archive(client, content, expect=409)
    assert await client.get("/projects") == before
    there = {each.name for each in (gns3_settings.images_path / "BOX").iterdir()}
    assert {each for each in there if not each.endswith(".md5sum")} == {"box.bin", "other.bin"}


async def test_images_that_nothing_here_uses_are_left_out(client, lab, gns3_settings):
    content = add(await client.get(f"{lab}/export"), "images/OTHER/x", "images/BOX/below/x")
    await import_archive(client, content)
    assert {each.name for each in gns3_settings.images_path.iterdir()} == {"BOX"}
    assert not (gns3_settings.images_path / "BOX" / "below").exists()


async def addresses(client, path):
    """The addresses of the nodes of a project, which is opened: their own, and of adapters."""
    await client.post(f"{path}/open")
    return [
        (node["properties"].get("mac_address"), node["custom_adapters"])
        for node in await client.get(f"{path}/nodes")
    ]


ADAPTERS = [{"adapter_number": 0, "mac_address": "02:00:00:00:00:02"}]
PARKED = {
    "node_id": str(uuid.uuid4()),
    "node_type": "docker",
    "name": "C1",
    "properties": {"mac_address": "02:00:00:00:00:03"},
    "custom_adapters": ADAPTERS,
}
KEPT = [("02:00:00:00:00:01", ADAPTERS), ("02:00:00:00:00:03", ADAPTERS)]
DROPPED = [("of its own", [{"adapter_number": 0}]), (None, [{"adapter_number": 0}])]


@pytest.fixture
async def addressed(client, lab):
    """The path of a project with addresses, of a node that can run and of one that is parked."""
    (node,) = await client.get(f"{lab}/nodes")
    await client.put(f"{lab}/nodes/{node['node_id']}", {"custom_adapters": ADAPTERS})
    content = await client.get(f"{lab}/export")
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(target, "w") as other:
        described = json.loads(archive.read("project.gns3"))
        described["topology"]["nodes"].append(PARKED)
        other.writestr("project.gns3", json.dumps(described))
    path = await import_archive(client, target.getvalue())
    assert await addresses(client, path) == KEPT
    return path


@pytest.mark.statement("V2-36")
async def test_an_archive_has_no_addresses_if_the_client_says_so(client, addressed):
    await client.post(f"{addressed}/snapshots", {"name": "first"})
    query = "include_snapshots=yes&reset_mac_addresses"
    for answer, expected in (("no", KEPT), ("yes", DROPPED)):
        content = await client.get(f"{addressed}/export?{query}={answer}")
        path = await import_archive(client, content)
        assert await addresses(client, path) == expected
        (made,) = await client.get(f"{path}/snapshots")
        await client.post(f"{path}/snapshots/{made['snapshot_id']}/restore")
        assert await addresses(client, path) == expected
    assert await addresses(client, addressed) == KEPT


@pytest.mark.statement("V2-35")
@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
async def test_a_copy_has_no_addresses_if_the_client_says_so(client, addressed, is_open):
    if not is_open:
        await client.post(f"{addressed}/close", expect=204)
    for reset, expected in ((False, KEPT), (True, DROPPED)):
        body = {"name": f"copy {reset}", "reset_mac_addresses": reset}
        copy = await client.post(f"{addressed}/duplicate", body)
        path = f"/projects/{copy['project_id']}"
        closed = await client.get(f"{path}/nodes")
        assert [node["custom_adapters"] for node in closed] == [each[1] for each in expected]
        assert await addresses(client, path) == expected
    assert await addresses(client, addressed) == KEPT


async def test_the_only_compute_has_the_same_id_in_any_archive(client, lab):
    described = []
    for answer in ("yes", "no"):
        content = await client.get(f"{lab}/export?keep_compute_ids={answer}")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            described.append(json.loads(archive.read("project.gns3")))
    assert described[0] == described[1]
    assert [node["compute_id"] for node in described[0]["topology"]["nodes"]] == ["local"]


def add(content, *files):
    """An archive with more files."""
    target = io.BytesIO(content)
    with zipfile.ZipFile(target, "a") as archive:
        for name in files:
            archive.writestr(name, b"x")
    return target.getvalue()
