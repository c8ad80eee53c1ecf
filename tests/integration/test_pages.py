"""The pages for people, and uploads through their form."""

from __future__ import annotations

import errno
import hashlib
import html
import io
import os
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from api_calls import new_project, new_toy
from faults import failing, impatient

from gns3server.files.images import MAX_LISTED
from gns3server.http import pages

UPLOAD = "/upload"
BOUNDARY = "----the-boundary"


@pytest.fixture
def plugins():
    """One that has two kinds of images."""
    return {"shelf": "toy_images"}


def field(name, content, filename=None):
    """One field of a form, as a browser sends it."""
    if isinstance(content, str):
        content = content.encode()
    file = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


async def send(client, *fields):
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    data = io.BytesIO(b"".join([*fields, f"--{BOUNDARY}--\r\n".encode()]))
    return await client.request("POST", UPLOAD, data=data, headers=headers)


def shown(answer):
    """The list items of a page."""
    return [html.unescape(item) for item in re.findall(r"<li>(/.*?)</li>", answer.body.decode())]


def stored(images):
    """Everything below the directory of images, hidden files included."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), images.path)
        for parent, _, names in os.walk(images.path)
        for name in names
    )


class Checker(HTMLParser):
    """Collects what a page would fetch, and checks that its tags are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]
        assert tag not in ("script", "link", "img", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(answer):
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    checker = Checker()
    checker.feed(answer.body.decode())
    checker.close()
    assert checker.open == []
    assert all(link.startswith("/") for link in checker.links)
    return checker.links


@pytest.mark.statement("HTTP-13")
async def test_the_first_page_leads_to_the_others(client):
    answer = await client.get("/")
    links = check_page(answer)
    assert b"Community" in answer.body
    assert answer.route == "/"
    assert {"/manual/", "/docs", "/v1/openapi.json", "/upload", "/v1/plugins"} <= set(links)
    for link in links:
        assert (await client.get(link)).status == 200, link


@pytest.mark.statement("HTTP-13")
async def test_the_first_page_of_a_server_that_has_nothing_says_so(gns3_serving):
    async with gns3_serving(plugins=[], announced_version="1.4.0.dev1") as server:
        answer = await server.client.get("/")
        assert "/upload" not in check_page(answer)
        assert b"1.4.0.dev1" in answer.body
        assert b"No project is open" in answer.body
        assert b"No plugin is installed" in answer.body
        assert b"None" not in answer.body


async def test_the_first_page_shows_plugins_projects_and_what_runs(
    gns3_serving, make_entry_point, faulty_plugin
):
    broken = faulty_plugin("raise RuntimeError('<nothing>')")
    toys = make_entry_point("toy", "toy_emulator")
    async with gns3_serving(plugins=[broken, toys], strict_plugins=False) as server:
        client = server.client
        project = await new_project(client, name="<b>Lab")
        await new_project(client, name="Empty")
        toy = await new_toy(client, project, name="<i>One")
        await new_toy(client, project, name="Two")
        assert (await client.post(f"{toy}/start")).status == 204
        console = (await client.get(toy)).json["console"]
        page = await client.get("/")
        assert project in check_page(page)
        items = [
            html.unescape(item) for item in re.findall("<li>(?!<a)(.*)</li>", page.body.decode())
        ]
        assert f"<i>One, toy: started, console on port {console}" in items
        assert any(re.match(r"Two, toy: stopped, console on port \d+", item) for item in items)
        assert "toy: toy, nio_udp, nio_other" in items
        assert any(re.match(r"mine: failed: .*<nothing>", item) for item in items)
        assert b"&lt;b&gt;Lab</a>: 1 of 2 nodes run" in page.body
        assert b"Empty</a>: 0 of 0 nodes run" in page.body
        assert b"None" not in page.body


async def test_the_first_page_is_short_however_much_there_is(
    gns3_serving, make_entry_point, monkeypatch
):
    monkeypatch.setattr(pages, "MAX_NODES", 2)
    monkeypatch.setattr(pages, "MAX_PROJECTS", 1)
    async with gns3_serving(plugins=[make_entry_point("toy", "toy_emulator")]) as server:
        project = await new_project(server.client)
        for number in range(5):
            await new_toy(server.client, project, name=f"n{number}")
        for _ in range(4):
            await new_project(server.client, name="another")
        page = (await server.client.get("/")).body.decode()
    assert "<li>n1, " in page
    assert "<li>n2, " not in page
    assert "<li>and 3 more</li>" in page
    assert '<li>and <a href="/v1/projects">4 more</a></li>' in page
    assert "another" not in page


async def test_the_manual_is_there_or_the_page_says_how_to_get_it(client):
    answer = await client.get("/manual")
    assert (answer.status, answer.headers["Location"]) == (302, "/manual/")
    answer = await client.get("/manual/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    installed = files("gns3server").joinpath("manual", "index.html").is_file()
    assert (b"installed without its manual" in answer.body) is not installed
    assert (await client.get("/manual/nothing.html")).status == 404


async def test_without_any_kind_of_images_the_upload_page_says_so(gns3_serving):
    async with gns3_serving(plugins=[]) as server:
        answer = await server.client.get(UPLOAD)
        check_page(answer)
        assert b"No plugin" in answer.body
        assert b"<form" not in answer.body
        refused = await send(server.client, field("type", "ROM"), field("file", "x", "x"))
        assert refused.status == 403
        assert stored(server.running.server.machine.images) == []


@pytest.mark.statement("UPL-01")
async def test_the_upload_page_lists_the_images(client, images):
    for name in ("ROM/b", "ROM/a", "disks/deep/c", "top", "IOU/other"):
        path = images.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("ROM/.hidden", "ROM/a.md5sum", ".folder/x", "ROM/no-text-\udcff"):
        path = images.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    answer = await client.get(UPLOAD)
    check_page(answer)
    wanted = ("top", "IOU/other", "ROM/a", "ROM/b", "disks/deep/c")
    assert shown(answer) == [str(images.path / name) for name in wanted]
    host = client.url.partition("//")[2]
    assert f"Files on {host}".encode() in answer.body
    assert b'<option value="ROM">&lt;toy&gt; program</option>' in answer.body


async def test_a_long_list_of_images_is_cut(client, images):
    (images.path / "ROM").mkdir(parents=True)
    names = [f"{number:05}" for number in range(MAX_LISTED + 1)]
    for name in names:
        (images.path / "ROM" / name).touch()
    answer = await client.get(UPLOAD)
    check_page(answer)
    assert [os.path.basename(path) for path in shown(answer)] == names[:-1]
    assert f"Only the first {MAX_LISTED}".encode() in answer.body


@pytest.mark.statement("UPL-02")
@pytest.mark.parametrize("content", [b"", b"hello\r\n--\r\n", os.urandom(900_000)])
@pytest.mark.parametrize("kind_first", [True, False])
async def test_a_form_is_stored_and_shown(client, images, content, kind_first):
    fields = [field("type", "ROM"), field("file", content, "toy.bin")]
    answer = await send(client, *(fields if kind_first else reversed(fields)))
    assert (answer.status, answer.headers["Location"], answer.body) == (302, UPLOAD, b"")
    assert (images.path / "ROM" / "toy.bin").read_bytes() == content
    md5 = hashlib.md5(content).hexdigest()
    assert (images.path / "ROM" / "toy.bin.md5sum").read_text() == md5
    assert shown(await client.get(UPLOAD)) == [str(images.path / "ROM" / "toy.bin")]
    assert stored(images) == ["ROM/toy.bin", "ROM/toy.bin.md5sum"]


async def test_a_form_as_a_program_makes_it_is_stored(client, images):
    import aiohttp

    form = aiohttp.FormData(quote_fields=False)
    form.add_field("type", "DISK")
    form.add_field("file", b"content", filename="d\u00efsk 1.img")
    answer = await client.request("POST", UPLOAD, data=form)
    assert answer.status == 302
    assert (images.path / "disks" / "d\u00efsk 1.img").read_bytes() == b"content"


@pytest.mark.parametrize("kind_first", [True, False])
async def test_each_kind_may_be_on_a_disk_of_its_own(client, images, kind_first):
    """302 in either order: where a rename is EXDEV, a copy is made beside the target."""
    rom = images.path / "ROM"
    rom.mkdir(parents=True)
    fields = [field("type", "ROM"), field("file", "content", "x")]
    rename = os.replace

    def between_disks(source, target):
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", between_disks)
        answer = await send(client, *(fields if kind_first else reversed(fields)))
    assert answer.status == 302
    assert (rom / "x").read_text() == "content"
    assert (rom / "x").stat().st_mode & 0o111
    assert stored(images) == ["ROM/x", "ROM/x.md5sum"]


async def test_what_does_not_fit_on_the_other_disk_leaves_nothing_there(client, images):
    rom = images.path / "ROM"
    rom.mkdir(parents=True)
    (rom / "x").write_text("old")
    with failing("replace", "x", errno.EXDEV), failing("fsync", rom, errno.ENOSPC):
        answer = await send(client, field("file", "new", "x"), field("type", "ROM"))
    assert answer.status == 507
    assert (rom / "x").read_text() == "old"
    assert stored(images) == ["ROM/x"]


@pytest.mark.statement("UPL-03")
async def test_a_form_replaces_an_image_and_its_stale_checksum(client, images):
    (images.path / "ROM").mkdir(parents=True)
    (images.path / "ROM" / "x").write_bytes(b"old")
    (images.path / "ROM" / "x.md5sum").write_text("0" * 32)
    assert (await send(client, field("type", "ROM"), field("file", "new", "x"))).status == 302
    assert (images.path / "ROM" / "x.md5sum").read_text() == hashlib.md5(b"new").hexdigest()


async def test_without_a_chosen_file_nothing_is_stored(client, images):
    answer = await send(client, field("type", "ROM"), field("file", "", ""))
    assert (answer.status, answer.headers["Location"]) == (302, UPLOAD)
    assert stored(images) == []


@pytest.mark.parametrize("kind", ["IOU", "", "rom", "ROM ", "../ROM", "x" * 5000, "\0"])
@pytest.mark.parametrize("kind_first", [True, False])
async def test_an_unknown_kind_is_forbidden(client, images, kind, kind_first):
    fields = [field("type", kind), field("file", "content", "x")]
    answer = await send(client, *(fields if kind_first else reversed(fields)))
    assert answer.status == 403
    assert "ROM, DISK" in answer.json["message"]
    assert stored(images) == []


ROM = field("type", "ROM")
FILE = field("file", "content", "x")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [ROM],
        [FILE],
        [ROM, FILE, FILE],
        [ROM, ROM, FILE],
        [ROM, FILE, field("more", "x")],
        [ROM, field("file", "content")],
        [ROM, field("", "x")],
        [ROM, FILE.replace(b"Content-Disposition", b"Content-Nothing")],
        [ROM, FILE.replace(b"name=", b";;; =")],
        [ROM, FILE, b"--" + BOUNDARY.encode() + b"\r\nContent-Type: multipart/mixed\r\n\r\n"],
    ],
)
async def test_a_form_that_is_not_this_form_is_a_bad_request(client, images, fields):
    assert (await send(client, *fields)).status == 400
    assert stored(images) == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"type=ROM&file=x"),
        ("application/json", b"{}"),
        ("", b""),
        ("multipart/form-data", ROM + FILE),
        ("multipart/form-data; boundary=", ROM + FILE),
        (f"multipart/form-data; boundary={'x' * 100}", ROM + FILE),
        ("multipart/form-data; boundary=other", ROM + FILE),
        (f"multipart/form-data; boundary={BOUNDARY}", b""),
        (f"multipart/form-data; boundary={BOUNDARY}", b"\xff\0" * 1000),
        (f"multipart/form-data; boundary={BOUNDARY}", ROM + FILE[:-20]),
        (f"multipart/form-data; boundary={BOUNDARY}", ROM + FILE),
        (f"multipart/form-data; boundary={BOUNDARY}", b"--" + BOUNDARY.encode() + b"\r\nx" * 9000),
    ],
)
async def test_what_is_no_form_is_a_bad_request(client, images, kind, body):
    answer = await client.request("POST", UPLOAD, data=body, headers={"Content-Type": kind})
    assert answer.status == 400
    assert set(answer.json) == {"message", "status", "path", "request"}
    assert stored(images) == []


async def test_a_form_over_the_limit_is_refused_and_leaves_nothing(
    gns3_serving, make_entry_point, monkeypatch
):
    impatient(monkeypatch, shutdown=0.2)
    plugins = [make_entry_point("shelf", "toy_images")]
    async with gns3_serving(plugins=plugins, max_image_size=1) as server:
        answers = []
        for size in (1024 * 1024 + 1, 1024 * 1024):
            content = field("file", b"x" * size, "x")
            answers.append(await send(server.client, ROM, content))
            answers.append(await send(server.client, content, ROM))
        assert [answer.status for answer in answers] == [413, 413, 302, 302]
        assert stored(server.running.server.machine.images) == ["ROM/x", "ROM/x.md5sum"]


async def test_a_form_that_cannot_be_stored_is_told_as_an_error(client, images):
    (images.path / "ROM" / "x").mkdir(parents=True)
    assert (await send(client, ROM, FILE)).status == 409
    with failing("write", images.path, errno.ENOSPC):
        assert (await send(client, ROM, FILE)).status == 507
    assert stored(images) == []
