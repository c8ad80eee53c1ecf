"""No name and no field of an upload leads out of the images, or into the pages."""

from __future__ import annotations

import html
import os

import pytest
from raw_http import RawClient

BOUNDARY = "boundary"


@pytest.fixture
def plugins():
    """One that has two kinds of images."""
    return {"shelf": "toy_images"}


def snapshot(directory):
    """All paths below a directory, those of the server's own records left out."""
    return {
        os.path.join(parent, name)
        for parent, _, names in os.walk(directory)
        for name in names
        if "/state/" not in f"{parent}/"
    }


async def send(server, target, body, headers=""):
    """Send a request exactly as it is written; returns the status."""
    client = RawClient(server.running.port)
    return (await client.request("POST", target, *headers.splitlines(), body=body)).status


def form(filename, kind="ROM"):
    lines = (
        f"--{BOUNDARY}",
        'Content-Disposition: form-data; name="type"',
        "",
        kind,
        f"--{BOUNDARY}",
        f'Content-Disposition: form-data; name="file"; {filename}',
        "",
        "content",
        f"--{BOUNDARY}--",
        "",
    )
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


FORM_TYPE = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"

STORED_BY_BASE_NAME = [
    "../../escaped",
    "/no-such-directory/escaped",
    "..\\..\\escaped",
    "C:\\images\\escaped",
    "a/b/../escaped",
    "//escaped",
    "../.ssh/escaped",
]

REFUSED = [
    "",
    ".",
    "..",
    "../..",
    "a/",
    ".hidden",
    "../.hidden",
    "a\\.hidden",
    "x.md5sum",
    "x.MD5SUM",
    ".upload-x",
    "line\nbreak",
    "bell\x07",
    "null\0",
    "null\0.bin",
    "left\u202eright",
    "x" * 249,
    "\u00e9" * 125,
    "x" * 3000,
]


@pytest.mark.parametrize("name", STORED_BY_BASE_NAME)
async def test_of_a_name_only_its_last_part_counts(server, images, tmp_path, name):
    before = snapshot(tmp_path)
    quoted = name.replace("\\", "\\\\")
    assert await send(server, "/upload", form(f'filename="{quoted}"'), FORM_TYPE) == 302
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    assert await send(server, f"/v1/shelf/vms/{encoded}", b"content") == 204
    rom = images.path / "ROM"
    new = {str(rom / "escaped"), str(rom / "escaped.md5sum")}
    assert snapshot(tmp_path) - before == new


@pytest.mark.heavy
@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:20])
async def test_names_that_no_image_may_have_are_refused(server, tmp_path, name):
    before = snapshot(tmp_path)
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    status = await send(server, f"/v1/shelf/vms/{encoded}", b"content")
    # Without a name there is no such route.
    assert status == (400 if name else 404)
    if name:
        # RFC 8187: how a form says what a quoted string cannot.
        filename = f"filename*=UTF-8''{encoded}"
        assert await send(server, "/upload", form(filename), FORM_TYPE) == 400
    assert snapshot(tmp_path) == before


async def test_an_upload_replaces_a_link_and_not_what_it_leads_to(server, images, tmp_path):
    (tmp_path / "outside").write_bytes(b"untouched")
    (images.path / "ROM").mkdir(parents=True)
    (images.path / "ROM" / "x").symlink_to(tmp_path / "outside")
    (images.path / "ROM" / "x.md5sum").symlink_to(tmp_path / "outside")
    assert await send(server, "/v1/shelf/vms/x", b"content") == 204
    assert (tmp_path / "outside").read_bytes() == b"untouched"
    assert (images.path / "ROM" / "x").read_bytes() == b"content"
    assert not (images.path / "ROM" / "x").is_symlink()


async def test_a_kind_cannot_be_a_path(server, images, tmp_path):
    before = snapshot(tmp_path)
    for kind in ("..", "../..", "/tmp", "ROM/..", "", "disks"):
        body = form('filename="escaped"', kind)
        assert await send(server, "/upload", body, FORM_TYPE) == 403
    assert snapshot(tmp_path) == before


async def test_a_page_of_another_site_cannot_upload(server, images, tmp_path):
    before = snapshot(tmp_path)
    for origin in ("http://evil.example", "null"):
        headers = f"{FORM_TYPE}Origin: {origin}\r\n"
        assert await send(server, "/upload", form('filename="x"'), headers) == 403
        assert await send(server, "/v1/shelf/vms/x", b"x", f"Origin: {origin}\r\n") == 403
    assert snapshot(tmp_path) == before
    own = f"{FORM_TYPE}Origin: http://localhost\r\n"
    assert await send(server, "/upload", form('filename="x"'), own) == 302


async def test_nothing_that_a_client_says_becomes_part_of_a_page(server, images):
    name = "<script>alert('1') & \"2\".bin"
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    assert await send(server, f"/v1/shelf/vms/{encoded}", b"x") == 204
    answer = await server.client.get("/upload")
    page = answer.body.decode()
    assert answer.status == 200
    assert "<script>" not in page
    assert html.escape(name) in page
    # The page names the server as the request does.
    headers = {"Host": 'localhost:"><script>alert(1)</script>'}
    assert (await server.client.request("GET", "/upload", headers=headers)).status == 403


async def test_compressed_bodies_count_as_what_they_become(gns3_serving, make_entry_point):
    import gzip

    plugins = [make_entry_point("shelf", "toy_images")]
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    async with gns3_serving(plugins=plugins, max_image_size=1) as server:
        headers = "Content-Encoding: gzip\r\n"
        assert await send(server, "/v1/shelf/vms/x", bomb, headers) == 413
        small = gzip.compress(b"\0" * 1_000_000)
        assert await send(server, "/v1/shelf/vms/y", small, headers) == 204
        rom = server.running.server.machine.images.path / "ROM"
        assert sorted(os.listdir(rom)) == ["y", "y.md5sum"]
        assert (rom / "y").read_bytes() == b"\0" * 1_000_000
        whole = gzip.compress(b"an image")
        for broken in (b"no gzip at all", b"", whole[:-1], whole[:-8], whole[:5], whole + b"x"):
            assert await send(server, "/v1/shelf/vms/z", broken, headers) == 400
            assert sorted(os.listdir(rom)) == ["y", "y.md5sum"]
