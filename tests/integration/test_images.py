"""Images: where they are, their checksums, and uploads as a raw body."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat

import pytest
from faults import before, failing, impatient, nearly_full
from file_trees import md5

from gns3server.errors import Forbidden, InvalidRequest
from gns3server.files.uploads import RESERVE

ROUTE = "/v1/shelf/vms"


@pytest.fixture
def plugins():
    """One that has two kinds of images."""
    return {"shelf": "toy_images"}


@pytest.fixture
def rom(images):
    """The kind of images that are programs."""
    return images.kinds()["ROM"]


@pytest.fixture
def directory(images, rom):
    """Where programs are kept; made by the test or the server."""
    return images.directory(rom)


def in_directory(directory):
    """Everything that is there, hidden files included, but no checksums."""
    return sorted(p.name for p in directory.iterdir() if not p.name.endswith(".md5sum"))


# Paths ------------------------------------------------------------------------------


@pytest.mark.statement("IMG-01")
async def test_an_image_is_looked_up_among_its_kind_and_then_beside_it(images, rom, directory):
    directory.mkdir(parents=True)
    (directory / "own").touch()
    (images.path / "own").touch()
    (images.path / "old").touch()
    assert await images.find(rom, "own") == directory / "own"
    assert await images.find(rom, "old") == images.path / "old"
    assert await images.find(rom, "missing") == directory / "missing"
    assert await images.find(rom, "../x") == images.path / "x"
    assert await images.find(rom, "a/../own") == directory / "own"
    assert str(await images.find(rom, "/etc/hosts")) == "/etc/hosts"


@pytest.mark.statement("IMG-02")
def test_an_image_of_its_kind_is_shown_by_its_name(images, rom, directory):
    assert images.shown(rom, directory / "x") == "x"
    for path in (images.path / "x", directory / "folder" / "x", images.path / "disks" / "x"):
        assert images.shown(rom, path) == str(path)


async def test_a_server_that_is_not_local_takes_images_from_their_directory_only(
    gns3_serving, make_entry_point
):
    plugins = [make_entry_point("shelf", "toy_images")]
    async with gns3_serving(plugins=plugins, local=False) as server:
        images = server.running.server.machine.images
        rom = images.kinds()["ROM"]
        for name in ("x", "../x", str(images.path / "ROM" / "x")):
            assert images.path in (await images.find(rom, name)).parents
        for name in ("/etc/hosts", "../../x", "a/../../../x", "..", f"{images.path}-not/x"):
            with pytest.raises(Forbidden):
                await images.find(rom, name)
        with pytest.raises(InvalidRequest):
            await images.find(rom, "x\0")


@pytest.mark.statement("IMG-03")
async def test_images_are_listed_by_name(client, directory):
    assert (await client.get(ROUTE)).json == []
    directory.mkdir(parents=True)
    assert (await client.get(ROUTE)).json == []
    for name in ("b", "a", "\u00e9 x", ".hidden", "a.md5sum", "no-text-\udcff"):
        (directory / name).touch()
    (directory / "folder").mkdir()
    (directory / "link").symlink_to("a")
    (directory / "broken").symlink_to("missing")
    names = [image["filename"] for image in (await client.get(ROUTE)).json]
    assert names == ["a", "b", "link", "\u00e9 x"]


# Checksums --------------------------------------------------------------------------


@pytest.mark.statement("IMG-04", "IMG-05")
async def test_a_checksum_is_computed_once_and_kept(images, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"hello")
    assert await images.md5(image) == md5(b"hello")
    assert (tmp_path / "image.md5sum").read_text() == md5(b"hello")
    (tmp_path / "image.md5sum").write_text("0" * 32 + "\n")
    assert await images.md5(image) == "0" * 32


async def test_a_checksum_that_is_older_than_the_image_is_computed_again(images, tmp_path):
    (tmp_path / "image.md5sum").write_text(md5(b"hello"))
    os.utime(tmp_path / "image.md5sum", (1, 1))
    # Copied over the old one by hand, with its own time of change.
    (tmp_path / "image").write_bytes(b"other")
    os.utime(tmp_path / "image", (0, 0))
    assert await images.md5(tmp_path / "image") == md5(b"other")
    assert (tmp_path / "image.md5sum").read_text() == md5(b"other")


@pytest.mark.parametrize(
    "kept", [b"", b"0" * 31, b"no checksum, by its looks......!", b"\xff" * 32]
)
async def test_a_checksum_that_is_none_is_computed_again(images, tmp_path, kept):
    (tmp_path / "image").write_bytes(b"hello")
    (tmp_path / "image.md5sum").write_bytes(kept)
    assert await images.md5(tmp_path / "image") == md5(b"hello")
    assert (tmp_path / "image.md5sum").read_text() == md5(b"hello")


@pytest.mark.statement("IMG-06")
async def test_without_an_image_there_is_no_checksum(images, tmp_path):
    (tmp_path / "image.md5sum").write_text("0" * 32)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (None, tmp_path / "image", tmp_path / "folder", tmp_path / "pipe"):
        assert await images.md5(path) is None


async def test_what_is_no_file_is_not_taken_for_a_checksum(images, tmp_path):
    (tmp_path / "image").write_bytes(b"hello")
    os.mkfifo(tmp_path / "image.md5sum")
    # A pipe that nobody writes to would be waited for.
    assert await images.md5(tmp_path / "image") == md5(b"hello")
    assert (tmp_path / "image.md5sum").read_text() == md5(b"hello")


@pytest.mark.statement("IMG-07")
async def test_a_checksum_can_be_forgotten_even_if_there_is_none(images, tmp_path):
    (tmp_path / "image.md5sum").write_text("0" * 32)
    for _ in range(2):
        await images.forget_md5(tmp_path / "image")
        assert not (tmp_path / "image.md5sum").exists()


async def test_a_checksum_asked_for_many_times_at_once_is_computed_once(images, tmp_path):
    (tmp_path / "image").write_bytes(b"hello")
    with before("pread", tmp_path / "image") as reads:
        sums = await asyncio.gather(*(images.md5(tmp_path / "image") for _ in range(20)))
    assert sums == [md5(b"hello")] * 20
    assert [position for _, _, position in reads] == [0, 5]


async def test_the_checksum_of_an_image_that_changes_meanwhile_is_not_kept(images, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"hello")
    with before("pread", image, lambda: image.write_bytes(b"another content")):
        await images.md5(image)
    assert not (tmp_path / "image.md5sum").exists()


async def test_a_checksum_that_cannot_be_kept_is_told_all_the_same(images, tmp_path):
    (tmp_path / "image").write_bytes(b"hello")
    (tmp_path / "image.md5sum").mkdir()
    assert await images.md5(tmp_path / "image") == md5(b"hello")
    assert not list(tmp_path.glob(".*"))


# Uploads ----------------------------------------------------------------------------


@pytest.mark.statement("IMG-08")
@pytest.mark.parametrize(
    "content", [b"", b"hello", os.urandom(3_500_000)], ids=["empty", "small", "big"]
)
async def test_a_body_is_stored_with_its_checksum(client, directory, content):
    answer = await client.request("POST", f"{ROUTE}/toy%20rom.bin", data=io.BytesIO(content))
    assert (answer.status, answer.body) == (204, b"")
    image = directory / "toy rom.bin"
    assert image.read_bytes() == content
    assert (directory / "toy rom.bin.md5sum").read_text() == md5(content)
    assert stat.S_IMODE(image.stat().st_mode) == 0o700
    assert (await client.get(ROUTE)).json == [{"filename": "toy rom.bin"}]


async def test_a_body_without_a_length_is_stored_whatever_it_looks_like(client, directory):
    async def pieces():
        for _ in range(300):
            yield b'{"not": json' * 1000

    answer = await client.request("POST", f"{ROUTE}/x", data=pieces())
    assert answer.status == 204
    assert (directory / "x").stat().st_size == 300 * 12_000


async def test_an_image_of_a_kind_that_is_no_program_cannot_be_run(images):
    async def content():
        yield b"data"

    path = await images.store(images.kinds()["DISK"], "disk.img", content())
    assert path == images.path / "disks" / "disk.img"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.statement("UPL-03")
async def test_an_upload_replaces_the_image_and_a_stale_checksum(client, directory, images):
    directory.mkdir(parents=True)
    (directory / "x").write_bytes(b"old")
    (directory / "x.md5sum").write_text("0" * 32)
    assert (await client.request("POST", f"{ROUTE}/x", data=b"new")).status == 204
    assert (directory / "x").read_bytes() == b"new"
    assert (directory / "x.md5sum").read_text() == md5(b"new")
    assert await images.md5(directory / "x") == md5(b"new")


@pytest.mark.statement("IMG-09")
async def test_an_image_that_cannot_be_written_is_a_conflict(client, directory, images):
    (directory / "x").mkdir(parents=True)
    (directory / "x" / "inside").touch()
    (directory / "y").write_bytes(b"old")
    (directory / "y.md5sum").mkdir()
    for name in ("x", "y"):
        answer = await client.request("POST", f"{ROUTE}/{name}", data=b"new")
        assert answer.status == 409
        assert repr(name) in answer.json["message"]
    assert (directory / "x" / "inside").exists()
    assert (directory / "y").read_bytes() == b"old"
    assert in_directory(directory) == ["x", "y"]


@pytest.mark.statement("IMG-09")
async def test_a_place_where_no_directory_can_be_is_a_conflict(client, directory):
    directory.parent.mkdir()
    directory.write_bytes(b"a file")
    assert (await client.request("POST", f"{ROUTE}/x", data=b"new")).status == 409
    assert directory.read_bytes() == b"a file"


@pytest.mark.parametrize("announced", [True, False])
async def test_an_image_over_the_limit_is_refused_and_leaves_nothing(
    gns3_serving, make_entry_point, announced, monkeypatch
):
    # The library reads on for a while, so that the client gets to reading the answer.
    impatient(monkeypatch, shutdown=0.2)
    plugins = [make_entry_point("shelf", "toy_images")]
    content = b"x" * (2 * 1024 * 1024 + 1)

    async def pieces():
        yield content

    async with gns3_serving(plugins=plugins, max_image_size=2) as server:
        directory = server.running.server.machine.images.path / "ROM"
        fits = await server.client.request("POST", f"{ROUTE}/x", data=io.BytesIO(content[:-1]))
        assert fits.status == 204
        data = io.BytesIO(content) if announced else pieces()
        answer = await server.client.request("POST", f"{ROUTE}/x", data=data)
        assert answer.status == 413
        assert "2 MiB" in answer.json["message"]
        assert (directory / "x").stat().st_size == len(content) - 1
        assert in_directory(directory) == ["x"]


@pytest.mark.parametrize("call", ["write", "fsync", "fstatvfs"])
async def test_a_disk_that_is_too_full_is_told_and_nothing_is_left(client, directory, call):
    directory.mkdir(parents=True)
    (directory / "x").write_bytes(b"old")
    # What is less than uploads must leave is as good as full.
    disk = failing(call, directory, errno.ENOSPC) if call != "fstatvfs" else nearly_full(RESERVE)
    with disk:
        answer = await client.request("POST", f"{ROUTE}/x", data=b"new" * 10_000)
    assert answer.status == 507
    assert "room" in answer.json["message"]
    assert (directory / "x").read_bytes() == b"old"
    assert in_directory(directory) == ["x"]


async def test_an_image_whose_directory_cannot_be_synced_is_there_and_said_to_be(client, directory):
    directory.mkdir(parents=True)
    with failing("fsync", directory, only=2):
        answer = await client.request("POST", f"{ROUTE}/x", data=b"new")
    assert answer.status == 507
    assert "is in place, but may not survive a loss of power" in answer.json["message"]
    assert (directory / "x").read_bytes() == b"new"


async def test_of_uploads_at_the_same_time_one_wins_whole(client, directory, images):
    contents = [bytes([number]) * 1_500_000 for number in range(8)]

    async def pieces(content):
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]
            await asyncio.sleep(0)

    answers = await asyncio.gather(
        *(client.request("POST", f"{ROUTE}/x", data=pieces(content)) for content in contents)
    )
    assert [answer.status for answer in answers] == [204] * 8
    stored = (directory / "x").read_bytes()
    assert stored in contents
    assert (directory / "x.md5sum").read_text() == md5(stored)
    assert in_directory(directory) == ["x"]


async def begin_upload(server, name, length=1_000_000):
    """An upload of which half has been sent."""
    reader, writer = await asyncio.open_connection(server.running.host, server.running.port)
    head = f"POST {ROUTE}/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode() + b"x" * (length // 2))
    await writer.drain()
    directory = server.running.server.machine.images.path / "ROM"
    async with asyncio.timeout(20):
        while not directory.is_dir() or not in_directory(directory):
            await server.client.get("/v1/version")
    return reader, writer


async def until_gone(server, directory):
    async with asyncio.timeout(20):
        while in_directory(directory):
            await server.client.get("/v1/version")


async def test_an_upload_that_breaks_off_leaves_nothing(server, directory):
    _, writer = await begin_upload(server, "x")
    [unfinished] = in_directory(directory)
    assert unfinished.startswith(".")
    assert (await server.client.get(ROUTE)).json == []
    writer.transport.abort()
    await until_gone(server, directory)


async def test_an_upload_that_stalls_is_given_up(server, directory, monkeypatch):
    reader, writer = await begin_upload(server, "x")
    impatient(monkeypatch, body=0.1)
    # What it waits for now still has the old limit: one byte more, and the new one counts.
    writer.write(b"x")
    assert b" 408 " in await reader.readline()
    writer.close()
    await until_gone(server, directory)


async def test_an_upload_does_not_keep_the_server_from_stopping(
    gns3_serving, make_entry_point, monkeypatch
):
    impatient(monkeypatch, shutdown=0.2, body=3600.0)
    plugins = [make_entry_point("shelf", "toy_images")]
    async with gns3_serving(plugins=plugins) as server:
        directory = server.running.server.machine.images.path / "ROM"
        _, writer = await begin_upload(server, "x")
    writer.close()
    assert in_directory(directory) == []


async def test_what_a_crash_left_is_removed_by_the_next_upload(server, client, directory):
    _, writer = await begin_upload(server, "x")
    (directory / ".upload-left").write_bytes(b"from before a crash")
    os.mkfifo(directory / ".upload-pipe")
    assert (await client.request("POST", f"{ROUTE}/y", data=b"new")).status == 204
    # The upload under way may have had to take another name: it was not locked yet.
    in_progress, *others = in_directory(directory)
    assert in_progress != ".upload-left"
    assert others == [".upload-pipe", "y"]
    (directory / ".upload-pipe").unlink()
    (directory / "y").unlink()
    writer.transport.abort()
    await until_gone(server, directory)


# Images that replace none --------------------------------------------------------------


async def test_an_image_that_is_added_replaces_none_that_came_meanwhile(images, rom, directory):
    async def content(text):
        yield text

    async with images.adding(rom, "rom", content(b"mine")) as put:
        await images.store(rom, "rom", content(b"theirs"))
        assert await put() == directory / "rom"
    assert (directory / "rom").read_bytes() == b"theirs"
    assert await images.md5(directory / "rom") == md5(b"theirs")
    async with images.adding(rom, "new", content(b"mine")) as put:
        assert in_directory(directory) != ["new", "rom"]
        await put()
    async with images.adding(rom, "never", content(b"mine")):
        pass
    assert in_directory(directory) == ["new", "rom"]
