"""The files of a project, listed and fetched."""

from __future__ import annotations

import asyncio
import os
from functools import partial
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
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.route == "/v1/projects/{project_id}/files/{path:.+}"


@pytest.mark.statement("FILE-04")
@pytest.mark.parametrize("path", ["missing", "a/missing", "folder", "folder/", "file/below"])
async def test_what_is_no_file_is_not_found(client, project, directory, path):
    (directory / "folder").mkdir()
    (directory / "file").write_bytes(b"x")
    answer = await client.get(f"{project}/files/{path}")
    assert answer.status == 404
    assert "has no file" in answer.json["message"]


async def test_what_is_no_regular_file_is_not_blamed_on_its_mode(client, project, directory):
    os.mkfifo(directory / "pipe")
    answer = await client.get(f"{project}/files/pipe")
    assert answer.status == 403
    assert "it is not a regular file. Only regular files" in answer.json["message"]


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


async def test_a_download_of_a_file_that_becomes_shorter_breaks_off(client, project, directory):
    import aiohttp

    (directory / "file").write_bytes(b"x" * 1_000_000)
    shorten = partial(os.truncate, directory / "file", 10)
    with before("pread", directory / "file", shorten), pytest.raises(aiohttp.ClientError):
        await client.get(f"{project}/files/file")


CONTENT = bytes(range(256)) * 4000
"""Of a file that takes several writes to send."""


@pytest.fixture
def download(raw, project, directory):
    """Asks for a file, with headers."""
    (directory / "file").write_bytes(CONTENT)
    (directory / "empty").touch()

    async def download(*headers, method="GET", name="file"):
        return await raw.request(method, f"{project}/files/{name}", *headers)

    return download


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("0-0", slice(0, 1)),
        ("0-", slice(0, None)),
        ("5-1000", slice(5, 1001)),
        ("300000-", slice(300_000, None)),
        ("1023999-1024000", slice(1_023_999, None)),
        ("1000-99999999999999", slice(1000, None)),
        (f"1000-{10**40}", slice(1000, None)),
        ("-1", slice(-1, None)),
        ("-600000", slice(-600_000, None)),
        ("-99999999", slice(0, None)),
        (f"-{10**40}", slice(0, None)),
    ],
)
async def test_a_part_of_a_file_is_sent(download, asked, part):
    answer = await download(f"Range: bytes={asked}")
    first, last, _ = part.indices(len(CONTENT))
    assert (answer.status, answer.body) == (206, CONTENT[part])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(CONTENT)}"
    assert answer.headers["Content-Length"] == str(len(CONTENT[part]))


@pytest.mark.parametrize(
    "asked", ["1024000-", "9999999999999999999-", "5-4", "-0", "-", "", "x-y", "1", "0x1-2", "+1-2"]
)
async def test_a_part_that_the_file_does_not_have_is_refused(download, asked):
    answer = await download(f"Range: bytes={asked}")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert "it has 1024000" in answer.json["message"]
    assert (await download("Range: bytes=0-", name="empty")).status == 416


async def test_a_file_is_sent_whole_if_no_one_part_is_asked_for(download):
    for headers in (
        ("Range: bytes=0-1,5-6",),
        ("Range: bytes=0-1", "Range: bytes=5-6"),
        ("Range: lines=0-1",),
        ("Range: 0-1",),
    ):
        answer = await download(*headers)
        assert (answer.status, answer.body) == (200, CONTENT), headers
    assert (await download("Range: bytes=0-1", method="HEAD")).status == 200


async def test_a_part_is_only_sent_of_the_version_that_is_asked_for(download, directory):
    known = (await download()).headers
    part = "Range: bytes=10-19"
    for name in ("ETag", "Last-Modified"):
        answer = await download(part, f"If-Range: {known[name]}")
        assert (answer.status, answer.body) == (206, CONTENT[10:20])
    changed = CONTENT[::-1]
    (directory / "file").write_bytes(changed)
    os.utime(directory / "file", (1e9, 1e9))
    for condition in (known["ETag"], f"W/{known['ETag']}", known["Last-Modified"], "nonsense"):
        answer = await download(part, f"If-Range: {condition}")
        assert (answer.status, answer.body) == (200, changed)
    for condition in (f"If-Match: {known['ETag']}", "If-Unmodified-Since: " + LONG_AGO):
        answer = await download(part, condition)
        assert answer.status == 412
        assert "has changed" in answer.json["message"]


LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"


async def test_a_file_that_the_client_has_is_not_sent_again(download, directory):
    known = (await download()).headers
    tag, modified = known["ETag"], known["Last-Modified"]
    for condition in (
        f"If-None-Match: {tag}",
        f'If-None-Match: "other", W/{tag}',
        "If-None-Match: *",
        f"If-Modified-Since: {modified}",
    ):
        answer = await download(condition)
        assert (answer.status, answer.body) == (304, b""), condition
        assert answer.headers["ETag"] == tag
    for conditions in (
        ('If-None-Match: "other"', f"If-Modified-Since: {modified}"),
        (f"If-Modified-Since: {LONG_AGO}",),
        ("If-Modified-Since: nonsense",),
        (f"If-Match: {tag}",),
        (f"If-Unmodified-Since: {modified}",),
    ):
        answer = await download(*conditions)
        assert (answer.status, answer.body) == (200, CONTENT), conditions
    with (directory / "file").open("ab") as file:
        file.write(b"more")
    answer = await download(f"If-None-Match: {tag}")
    assert (answer.status, answer.body) == (200, CONTENT + b"more")
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("seconds", [-(2**31), 0, 2**33, 2**40])
async def test_a_file_may_have_any_date(download, directory, seconds):
    os.utime(directory / "file", (seconds, seconds))
    answer = await download("Range: bytes=0-3")
    assert (answer.status, answer.body) == (206, CONTENT[:4])
    assert answer.headers["Last-Modified"].endswith(" GMT")


async def test_a_download_that_was_cut_off_is_gone_on_with(server, project, download, tmp_path):
    part = tmp_path / "file"
    part.write_bytes(CONTENT[:300_000])
    command = ["curl", "--fail", "--silent", "--show-error", "--continue-at", "-", "--output"]
    process = await asyncio.create_subprocess_exec(
        *command, str(part), f"{server.url}{project}/files/file"
    )
    assert await process.wait() == 0
    assert part.read_bytes() == CONTENT


async def test_a_part_of_a_file_out_of_the_project_is_not_sent(download, directory, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    answer = await download("Range: bytes=0-2", name="link")
    assert answer.status == 403
    assert "Content-Range" not in answer.headers


async def test_files_of_no_project_are_not_found(client):
    for path in ("files", "files/x"):
        answer = await client.get(f"/v1/projects/{ID}/{path}")
        assert answer.status == 404
        assert (await client.get(f"/v1/projects/nothing/{path}")).status == 400
