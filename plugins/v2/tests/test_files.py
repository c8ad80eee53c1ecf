"""Files of projects and nodes, symbols, and what else clients fetch."""

from __future__ import annotations

import struct

import pytest

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 31, 17) + b"\x08\x06\0\0\0"


@pytest.mark.statement("V2-24")
async def test_files_of_a_project_and_of_a_node_are_written_and_read(client, project):
    await client.send("POST", f"{project}/files/README.txt", data=b"about it", expect=201)
    assert await client.get(f"{project}/files/README.txt") == b"about it"
    node = await client.vpcs(project)
    folder = f"{project}/nodes/{node['node_id']}/files"
    assert await client.get(f"{folder}/startup.vpc") == b"set pcname PC1\n"
    await client.send("POST", f"{folder}/startup.vpc", data=b"ip 10.0.0.1\n", expect=201)
    assert await client.get(f"{folder}/startup.vpc") == b"ip 10.0.0.1\n"
    # A library sends absolute paths of the node as they are.
    await client.send("POST", f"{folder}//etc/hosts", data=b"one", expect=201)
    assert await client.get(f"{folder}//etc/hosts") == b"one"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing.txt", 404),
        ("project.db", 403),
        (".gns3_temporary", 403),
        ("%2e%2e/other", 403),
    ],
)
async def test_other_files_are_neither_read_nor_written(client, project, path, status):
    await client.get(f"{project}/files/{path}", expect=status)
    if status == 403:
        await client.send("POST", f"{project}/files/{path}", data=b"x", expect=403)


async def test_a_file_of_a_node_does_not_leave_its_directory(client, project):
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}/files/%2e%2e/%2e%2e/README.txt"
    await client.get(path, expect=404)
    await client.send("POST", path, data=b"x", expect=404)


@pytest.mark.statement("V2-25")
async def test_symbols_are_listed_fetched_and_sent(client):
    listed = await client.get("/symbols")
    assert {tuple(sorted(each)) for each in listed} == {
        ("builtin", "filename", "symbol_id", "theme")
    }
    ids = [each["symbol_id"] for each in listed]
    assert {":/symbols/vpcs_guest.svg", ":/symbols/router.svg", ":/symbols/switch.svg"} <= {*ids}
    for symbol_id in [*ids, ":/symbols/that-nobody-knows.svg"]:
        assert b"<svg" in await client.get(f"/symbols/{symbol_id}/raw")
    size = await client.get("/symbols/:/symbols/vpcs_guest.svg/dimensions")
    assert size == {"width": 65, "height": 59}
    await client.send("POST", "/symbols/mine.png/raw", data=PNG, expect=204)
    assert await client.get("/symbols/mine.png/raw") == PNG
    assert await client.get("/symbols/mine.png/dimensions") == {"width": 31, "height": 17}
    project = await client.project()
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}"
    changed = await client.put(path, {"symbol": "mine.png"})
    assert (changed["width"], changed["height"]) == (31, 17)
    await client.send("POST", "/symbols/page/raw", data=b"<html>", expect=400)


async def test_pictures_of_users_run_no_script(gns3_client):
    answer = await gns3_client.get("/v2/symbols/:/symbols/hub.svg/raw")
    assert answer.headers["Content-Type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.statement("V2-26")
async def test_preference_pages_find_what_keeps_them_whole(client):
    assert await client.get("/appliances?update=yes&symbol_theme=Classic") == []
    machine = await client.get("/gns3vm")
    assert machine["enable"] is False
    assert await client.put("/gns3vm", machine, expect=201) == machine
    await client.put("/gns3vm", {"enable": True}, expect=409)
    assert await client.get("/gns3vm/engines") == []
    assert (await client.get("/iou_license"))["iourc_content"] == ""
    await client.put("/iou_license", {"iourc_content": "x"}, expect=201)
    await client.post("/debug")
    assert await client.get("/computes/local/qemu/images") == []
    for word in ("binaries", "img-binaries"):
        listed = await client.get(f"/computes/local/qemu/{word}")
        # None, if no plugin has such nodes.
        assert all(each.keys() == {"path", "version"} for each in listed)
    assert await client.get("/computes/local/qemu/capabilities") == {"kvm": []}
    interfaces = await client.get("/computes/local/network/interfaces")
    assert "lo" in {each["name"] for each in interfaces}
    await client.post("/computes/local/qemu/img", {"path": "x"}, expect=409)
    await client.put("/computes/local/qemu/img", {"path": "x"}, expect=409)
    endpoint = await client.get("/computes/endpoint/local/qemu/images/disk.img")
    assert endpoint["endpoint"].endswith("/v2/computes/local/qemu/images/disk.img")
    await client.post("/computes", {"host": "h", "port": 1, "protocol": "http"}, expect=409)


@pytest.mark.statement("V2-26")
async def test_wizards_of_emulators_that_are_not_there_find_nothing(client, project):
    for path in (
        "gns3vm/engines/vmware/vms",
        "computes/local/docker/images",
        "computes/local/virtualbox/vms",
        "computes/local/vmware/vms",
    ):
        assert await client.get(f"/{path}") == []
    node = f"{project}/nodes/{(await client.vpcs(project))['node_id']}"
    for method, path in (
        ("POST", "/computes/local/auto_idlepc"),
        ("POST", f"{node}/resize_disk"),
        ("GET", f"{node}/dynamips/auto_idlepc"),
        ("GET", f"{node}/dynamips/idlepc_proposals"),
        ("PUT", "/computes/local"),
        ("DELETE", "/computes/local"),
    ):
        await client.send(method, path, expect=409)
    await client.send("POST", "/computes/local/iou/images/disk.img", data=b"x", expect=409)


@pytest.mark.statement("V2-27")
async def test_the_web_client_is_served_from_the_folder_of_the_setting(gns3_serving, tmp_path):
    async with gns3_serving() as server:
        page = await server.client.get("/static/web-ui/bundled")
        assert b"web_client_path" in page.body
        # The first page leads there.
        first = await server.client.get("/")
        assert b'href="/static/web-ui"' in first.body
        led = await server.client.get("/static/web-ui")
        assert (led.status, led.headers["Location"]) == (302, "/static/web-ui/bundled")
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "index.html").write_text("the page")
    (folder / "main.js").write_text("the script")
    (tmp_path / "secret").write_text("no")
    async with gns3_serving(sections={"v2": {"web_client_path": str(folder)}}) as server:
        for path, content in (
            ("bundled", b"the page"),
            ("bundled/main.js", b"the script"),
            ("bundled/server/1/projects", b"the page"),
            ("bundled/..%2fsecret", b"the page"),
        ):
            answer = await server.client.get(f"/static/web-ui/{path}")
            assert answer.body == content, path
