"""No path of any form reads a file that is not meant to be read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from faults import before
from raw_http import RawClient

SECRET = b"the secret content"


async def get(server, target, body=b""):
    """Send a target exactly as it is written; returns status, JSON message and whole answer."""
    head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head = f"{head}Content-Length: {len(body)}\r\n\r\n"
    raw = await RawClient(server.running.port).talk(head.encode() + body)
    return int(raw.split(b" ", 2)[1]), raw


@pytest.fixture
async def directory(client, project):
    """The project's directory, with a secret beside it."""
    path = Path((await client.get(project)).json["path"])
    (path.parent / "secret").write_bytes(SECRET)
    (path / "folder").mkdir()
    (path / "file").write_bytes(b"a file")
    return path


@pytest.mark.heavy
@pytest.mark.statement("FILE-05", "FILE-06", "FILE-07")
@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../secret",
        "../../etc/passwd",
        "folder/../../secret",
        "./../secret",
        "%2e%2e/secret",
        "..%2Fsecret",
        "%2e%2e%2fsecret",
        "folder%2F..%2F..%2Fsecret",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "//etc/passwd",
        "%2F%2Fetc/passwd",
        ".hidden",
        ".gns3_temporary",
        "folder/../.hidden",
        ".",
        "%00",
        "file%00",
        "file%00.txt",
        "../secret%00.txt",
        "x" * 256,
        "folder/" * 700 + "file",
        "project.db",
        "project.db-wal",
        "folder/../project.db",
        "folder//..//project.db",
    ],
)
async def test_paths_that_leave_the_project_are_refused(server, project, directory, path):
    (directory / ".hidden").write_bytes(SECRET)
    status, raw = await get(server, f"{project}/files/{path}")
    assert status == 403
    assert SECRET not in raw
    assert b"root:" not in raw
    body = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert set(body) == {"message", "status"}


@pytest.mark.parametrize(
    "path", ["..%252Fsecret", "%252e%252e/secret", "..%5csecret", "..%c0%afsecret", "%ff"]
)
async def test_paths_that_are_encoded_twice_or_wrongly_are_not_decoded(
    server, project, directory, path
):
    status, raw = await get(server, f"{project}/files/{path}")
    assert status in (403, 404)
    assert SECRET not in raw


@pytest.mark.statement("FILE-06", "FILE-07")
async def test_links_do_not_lead_out_of_the_project(server, project, directory):
    links = {
        "secret-link": directory.parent / "secret",
        "relative-link": Path("../secret"),
        "parent-link": Path(".."),
        "root-link": Path("/"),
        "missing-link": directory.parent / "missing",
        "hidden-link": Path(".hidden"),
        ".link": Path("file"),
        "records-link": Path("project.db"),
    }
    (directory / ".hidden").write_bytes(SECRET)
    for name, target in links.items():
        (directory / name).symlink_to(target)
    for path in (*links, "parent-link/secret", "root-link/etc/passwd"):
        status, raw = await get(server, f"{project}/files/{path}")
        assert status == 403, path
        assert SECRET not in raw


async def test_links_inside_the_project_and_hidden_files_below_it_are_served(
    client, project, directory
):
    (directory / "link").symlink_to("folder/.emulator")
    (directory / "folder" / ".emulator").write_bytes(b"its own")
    for path in ("link", "folder/.emulator", "folder//.emulator"):
        assert (await client.get(f"{project}/files/{path}")).body == b"its own"


async def test_no_device_or_pipe_is_opened(server, project, directory):
    os.mkfifo(directory / "pipe")
    # Opening a pipe to read would wait for a writer, for ever.
    assert (await get(server, f"{project}/files/pipe"))[0] == 403
    status, _ = await get(server, "/v1/files/stream", json.dumps({"location": "/dev/tty"}).encode())
    assert status == 409


async def test_a_file_that_is_swapped_while_it_is_opened_is_not_read(server, project, directory):
    # The path is checked, then a part of it is replaced, then it is opened.
    folder = directory / "folder"
    (folder / "secret").write_bytes(b"harmless")

    def swap():
        folder.rename(directory / "moved")
        folder.symlink_to(directory.parent)

    with before("open", folder / "secret", swap, only=1) as opened:
        status, raw = await get(server, f"{project}/files/folder/secret")
    assert opened
    assert status == 403
    assert SECRET not in raw


async def test_reading_the_files_of_a_project_leaves_the_locks_on_its_records(
    client, project, directory
):
    def locks():
        inode = (directory / "project.db").stat().st_ino
        return re.findall(rf"POSIX .*:{inode} .*", Path("/proc/locks").read_text())

    (directory / "link").symlink_to("project.db")
    before = locks()
    assert before
    assert (await client.get(f"{project}/files")).status == 200
    for path in ("project.db", "link"):
        assert (await client.get(f"{project}/files/{path}")).status == 403
        location = {"location": str(directory / path)}
        assert (await client.request("GET", "/v1/files/stream", location)).status == 403
    assert locks() == before


async def test_a_server_that_is_not_local_shows_its_own_files_only(gns3_serving, tmp_path):
    async with gns3_serving(plugins=[], local=False) as server:
        made = await server.client.post("/v1/projects", {"name": "one"})
        directory = Path(made.json["path"])
        images = server.settings.images_path
        images.mkdir()
        (directory / "leaves").symlink_to("/etc/passwd")
        (tmp_path / "outside").write_bytes(SECRET)
        (tmp_path / "images-not").mkdir()
        (tmp_path / "images-not" / "x").write_bytes(SECRET)
        refused = (
            "/etc/passwd",
            "/no/such/file",
            tmp_path / "outside",
            tmp_path / "images-not" / "x",
            directory / "leaves",
            f"{directory}/../../outside",
            "/proc/self/environ",
            "etc/passwd",
            directory / "project.db",
            tmp_path / "state" / "server.db",
        )
        for location in map(str, refused):
            answer = await server.client.request("GET", "/v1/files/stream", {"location": location})
            assert (location, answer.status) == (location, 403)
        for place in (directory / "missing", images / "missing"):
            body = json.dumps({"location": str(place)}).encode()
            assert (await get(server, "/v1/files/stream", body))[0] == 404


async def test_a_server_that_is_local_no_more_still_shows_its_projects_wherever_they_are(
    gns3_serving, tmp_path
):
    async with gns3_serving(plugins=[], local=True) as server:
        project = {"name": "one", "path": str(tmp_path / "lab")}
        assert (await server.client.post("/v1/projects", project)).status == 201
        (tmp_path / "lab" / "log").write_bytes(b"hello")
        config = server.running.server.live_settings
        config.current = replace(config.current, server=replace(config.current.server, local=False))
        reader, writer = await RawClient(server.running.port).connect()
        body = json.dumps({"location": str(tmp_path / "lab" / "log")}).encode()
        head = f"GET /v1/files/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
        writer.write(f"{head}\r\n\r\n".encode() + body)
        await reader.readuntil(b"hello")
        writer.close()


@pytest.mark.parametrize("location", ["x\0", "/tmp/\0", "x" * 5000, "/" + "x" * 256])
async def test_a_location_that_cannot_be_a_path_is_an_error_of_the_client(client, location):
    answer = await client.request("GET", "/v1/files/stream", {"location": location})
    assert answer.status in (400, 409)
    assert len(answer.body) < 20_000
