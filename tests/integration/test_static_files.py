"""Files of a plugin's package, for browsers."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "toys" / "web_pages" / "static"


@pytest.fixture
def plugins():
    return {"front": "web_front_end"}


@pytest.mark.parametrize(
    ("path", "file", "kind"),
    [
        ("", "index.html", "text/html; charset=utf-8"),
        ("index.html", "index.html", "text/html; charset=utf-8"),
        ("script/start.js", "script/start.js", "text/javascript; charset=utf-8"),
        ("script/%73tart.js", "script/start.js", "text/javascript; charset=utf-8"),
        ("about.json", "about.json", "application/json"),
        ("README", "README", "application/octet-stream"),
        ("README?query=1", "README", "application/octet-stream"),
    ],
)
async def test_a_file_is_sent_with_its_type(raw, path, file, kind):
    content = (PAGES / file).read_bytes()
    answer = await raw.request("GET", f"/front/page/{path}")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'self'"
    head = await raw.request("HEAD", f"/front/page/{path}")
    for headers in (answer.headers, head.headers):
        del headers["Date"], headers["X-Request-Id"]
    assert (head.status, head.headers) == (200, answer.headers)


async def test_a_client_that_has_it_is_told_so(raw):
    etag = (await raw.request("GET", "/front/page/")).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        for method in ("GET", "HEAD"):
            answer = await raw.request(method, "/front/page/", f"If-None-Match: {known}")
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == etag
    for known in ('"other"', "", "nonsense", etag[:-2] + '"'):
        answer = await raw.request("GET", "/front/page/", f"If-None-Match: {known}")
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/front/page", "/front/page?x=1"])
async def test_the_folder_leads_to_its_page(raw, path):
    answer = await raw.request("GET", path)
    assert (answer.status, answer.headers["Location"]) == (302, "/front/page/")


OUTSIDE = [
    "../secret.txt",
    "script/../../secret.txt",
    "..%2fsecret.txt",
    "%2e%2e/secret.txt",
    "%2e%2e%2fsecret.txt",
    "script/%2e%2e/%2e%2e/secret.txt",
    "..%5csecret.txt",
    "..\\secret.txt",
    "./index.html",
    "script//start.js",
    "/index.html",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    ".hidden",
    "%2ehidden",
    "index.html/",
    "index.html%00",
    "index.html%00.js",
    "script/",
    "script",
    "no" * 1000,
    "missing",
    "C:%5cWindows",
    "%c0%ae%c0%ae/secret.txt",
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path[:40])
async def test_nothing_else_is_sent(raw, path):
    for method in ("GET", "HEAD"):
        answer = await raw.request(method, f"/front/page/{path}")
        assert answer.status in (400, 404)
        assert b"secret" not in answer.body or b"message" in answer.body


async def test_no_link_leads_out_of_the_folder(gns3_serving, faulty_plugin, raw_client, tmp_path):
    folder = tmp_path / "linked_pages" / "static"
    (folder / "inner").mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "inner" / "index.html").write_text("inner")
    (folder / "out").symlink_to(folder.parent)
    (folder / "file").symlink_to(folder.parent / "secret.txt")
    (folder / "same").symlink_to(folder / "inner")
    (folder / "loop").symlink_to("loop")
    (folder / "unreadable").mkdir()
    async with gns3_serving(plugins=[faulty_plugin(static("linked_pages"))]) as server:
        raw = raw_client(server.running.port)
        for path in ("out/secret.txt", "file", "loop", "out/", "unreadable/", "unreadable"):
            assert (await raw.request("GET", f"/pages/{path}")).status == 404
        for path in ("inner/", "same/"):
            assert (await raw.request("GET", f"/pages/{path}")).body == b"inner"
        answer = await raw.request("GET", "/pages/inner")
        assert (answer.status, answer.headers["Location"]) == (302, "/pages/inner/")


def static(package: str, folder: str = "static") -> str:
    """A plugin that serves nothing but a folder."""
    return f"""
from gns3server.plugin import StaticFiles

@hookimpl(specname="gns3_routes")
def offer():
    return [StaticFiles(prefix="/pages", package={package!r}, folder={folder!r})]
del gns3_routes
"""


async def test_a_package_may_be_an_archive(
    gns3_serving, faulty_plugin, raw_client, tmp_path, monkeypatch
):
    archive = tmp_path / "pages.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_pages/__init__.py", "")
        file.writestr("zipped_pages/static/index.html", "zipped")
        file.writestr("zipped_pages/secret.txt", "secret")
    monkeypatch.syspath_prepend(archive)
    async with gns3_serving(plugins=[faulty_plugin(static("zipped_pages"))]) as server:
        raw = raw_client(server.running.port)
        assert (await raw.request("GET", "/pages/")).body == b"zipped"
        for path in ("../secret.txt", "%2e%2e/secret.txt", "missing", "static/"):
            assert (await raw.request("GET", f"/pages/{path}")).status == 404


async def test_the_api_document_has_them(client):
    answer = await client.get("/front/page/")
    assert answer.route == "/front/page/{path:.*}"
    document = (await client.get("/v1/openapi.json")).json
    responses = document["paths"]["/front/page/{path}"]["get"]["responses"]
    assert {"200", "302", "304", "404"} <= set(responses)
    assert "content" not in responses["304"]
