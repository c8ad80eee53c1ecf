"""The files of a project, listed and fetched."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from api_calls import ID
from faults import before, failing
from file_trees import md5


@pytest.fixture
async def directory(client, project):
    """The project's directory."""
    return Path((await client.get(project)).json["path"])


@pytest.mark.statement("FILE-01", "FILE-02")
async def test_all_files_are_listed_those_at_the_top_first(client, project, directory):
    contents = {"b.txt": b"world", "a.txt": b"hello", "c/d": b"", "aa/e/c.bin": b"\0\xff" * 9000}
    for name, content in {**contents, "aa/router.ghost": b"memory"}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    answer = await client.get(f"{project}/files")
    assert answer.status == 200
    assert answer.json == [
        {"path": path, "md5sum": md5(contents[path])}
        for path in ("a.txt", "b.txt", "aa/e/c.bin", "c/d")
    ]


async def test_a_new_project_has_no_files_and_a_temporary_one_its_mark(client):
    for temporary, listed in ((False, []), (True, [".gns3_temporary"])):
        made = await client.post("/v1/projects", {"name": "one", "temporary": temporary})
        answer = await client.get(f"/v1/projects/{made.json['project_id']}/files")
        assert [file["path"] for file in answer.json] == listed


async def test_what_cannot_be_read_or_named_is_left_out_of_the_list(
    client, project, directory, tmp_path
):
    (tmp_path / "outside").write_bytes(b"outside")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"elsewhere")
    (directory / "good").write_bytes(b"good")
    (directory / "inside").symlink_to("good")
    (directory / "leaves").symlink_to(tmp_path / "outside")
    (directory / "folder").symlink_to(tmp_path / "elsewhere")
    (directory / "nowhere").symlink_to("missing")
    (directory / "itself").symlink_to("itself")
    (directory / "records").symlink_to("project.db")
    os.mkfifo(directory / "pipe")
    (directory / "no-text-\udcff").write_bytes(b"no text")
    answer = await client.get(f"{project}/files")
    good = md5(b"good")
    assert answer.json == [{"path": name, "md5sum": good} for name in ("good", "inside")]


async def test_a_file_that_goes_while_the_others_are_read_is_left_out(client, project, directory):
    for name in ("a", "b", "c"):
        (directory / name).write_bytes(b"x")
    with before("pread", directory / "a", (directory / "b").unlink, only=1):
        listed = (await client.get(f"{project}/files")).json
    assert [file["path"] for file in listed] == ["a", "c"]


async def test_a_disk_that_fails_while_files_are_listed_leaves_them_out(client, project, directory):
    for name in ("a", "b"):
        (directory / name).write_bytes(b"x")
    with failing("pread", directory / "a"):
        listed = (await client.get(f"{project}/files")).json
    assert [file["path"] for file in listed] == ["b"]


@pytest.mark.statement("FILE-03")
@pytest.mark.parametrize(
    "content", [b"", b"hello\n", os.urandom(700_000)], ids=["empty", "small", "big"]
)
async def test_a_file_is_sent_as_its_bytes(client, project, directory, content):
    (directory / "project-files").mkdir(exist_ok=True)
    (directory / "project-files" / "a b%2F\u00e9.bin").write_bytes(content)
    answer = await client.get(f"{project}/files/project-files/a%20b%252F%C3%A9.bin")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.route == "/v1/projects/{project_id}/files/{path:.+}"


@pytest.mark.statement("FILE-04")
@pytest.mark.parametrize("path", ["missing", "a/missing", "folder", "folder/", "file/below"])
async def test_what_is_no_file_is_not_found(client, project, directory, path):
    (directory / "folder").mkdir()
    (directory / "file").write_bytes(b"x")
    answer = await client.get(f"{project}/files/{path}")
    assert answer.status == 404
    assert "has no file" in answer.json["message"]


async def test_whatever_is_listed_can_be_fetched(client, project, directory):
    names = [chr(code) for code in range(1, 128) if chr(code) not in "/."]
    names += ["...", "%2e%2e", "a%2Fb", "e\u0301", "\u00e9", "\U0001f600", "a?b#c"]
    paths = [f"x{name}/{name}" for name in names]
    # As deep as a path can be: each character of these names has nine when it is escaped.
    deep = directory
    while len(f"{deep}/".encode()) + 255 < 4096 - 20:
        deep /= "\u7db2" * 85
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    for path in paths:
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_bytes(path.encode())
    listed = [file["path"] for file in (await client.get(f"{project}/files")).json]
    assert set(listed) == {*paths, f"{deep.relative_to(directory)}/file"}
    assert max(len(quote(path)) for path in listed) > 9434
    for path in listed:
        answer = await client.get(f"{project}/files/{quote(path)}")
        assert (answer.status, answer.body) == (200, (directory / path).read_bytes()), path


async def test_no_path_is_no_file(client, project):
    answer = await client.get(f"{project}/files/")
    assert (answer.status, answer.route) == (404, "")
    assert answer.json["message"].startswith(f"There is no {project}/files/ here: ")


async def test_head_tells_the_same_without_the_content(client, project, directory):
    import aiohttp

    (directory / "file").write_bytes(b"x" * 300_000)
    async with (
        aiohttp.ClientSession() as session,
        session.head(f"{client.url}{project}/files/file") as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert await answer.read() == b""


async def test_a_file_that_grows_is_sent_as_it_was(client, project, directory):
    (directory / "log").write_bytes(b"x" * 300_000)

    def grow():
        with (directory / "log").open("ab") as log:
            log.write(b"y" * 300_000)

    with before("pread", directory / "log", grow):
        assert (await client.get(f"{project}/files/log")).body == b"x" * 300_000


async def test_a_download_that_cannot_go_on_breaks_off(client, project, directory):
    import aiohttp

    (directory / "file").write_bytes(b"x" * 1_000_000)
    # The headers are long sent: what the client must not see is a proper end.
    with failing("pread", directory / "file", only=2), pytest.raises(aiohttp.ClientError):
        await client.get(f"{project}/files/file")


async def test_files_of_no_project_are_not_found(client):
    for path in ("files", "files/x"):
        answer = await client.get(f"/v1/projects/{ID}/{path}")
        assert answer.status == 404
        assert (await client.get(f"/v1/projects/nothing/{path}")).status == 400
