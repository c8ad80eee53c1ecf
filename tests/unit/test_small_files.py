"""Small files: every answer as new as its question, whatever is done to the file."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
import tracemalloc
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from gns3server.files import small_files
from gns3server.files.small_files import LARGEST, MOST_KEPT_BYTES, SETTLED, SmallFiles, is_local

LONG_AGO = 1_000_000_000_000_000_000


def later():
    """A clock by which everything was written long ago."""
    return time.time_ns() + 3600 * 1_000_000_000


@pytest.fixture(autouse=True)
def nothing_blocks():
    with blockbuster_ctx(scanned_modules=["gns3server.files"]) as blockbuster:
        # A file system that waits for nobody answers in a microsecond, and a thread in a hundred.
        blockbuster.functions["os.stat"].can_block_in("gns3server/files/small_files.py", "_look")
        yield


@pytest.fixture
def file(tmp_path):
    """A file in a directory of its own, three levels deep."""
    path = tmp_path / "project" / "files" / "node" / "script"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old text")
    return path


@pytest.fixture
def files():
    return SmallFiles()


@pytest.fixture
def read(files, tmp_path):
    """Reads a file below ``tmp_path``."""
    return lambda path: files.read(str(path), tmp_path)


@pytest.fixture
def openings(monkeypatch):
    """What was opened for reading, as it was named."""
    opened, real = [], os.open

    def note(path, flags, *args, **kwargs):
        if not flags & os.O_PATH:
            opened.append(path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", note)
    return opened


def at_once(reading):
    """The result of what must not wait."""
    with pytest.raises(StopIteration) as end:
        reading.send(None)
    return end.value.value


def wait_for_a_tick(file):
    """Until a change of the file gets another time than its last one."""
    before, other = file.stat().st_ctime_ns, file.with_name("clock")
    other.touch()
    while other.stat().st_ctime_ns == before:
        other.touch()
    other.unlink()


# What is kept -------------------------------------------------------------------


async def test_an_unchanged_file_is_read_once(file, tmp_path, openings):
    files = SmallFiles(later)
    assert await files.read(str(file), tmp_path) == b"old text"
    assert [at_once(files.read(str(file), tmp_path)) for _ in range(10)] == [b"old text"] * 10
    assert len(openings) == 1


async def test_a_young_file_is_read_for_every_answer_and_waits_for_nothing(read, file, openings):
    await read(file)
    for text in (b"new text", b"NEW TEXT"):
        before = file.stat()
        file.write_bytes(text)
        # As if the clock had not ticked meanwhile, as far as that can be done.
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert at_once(read(file)) == text
        assert at_once(read(file)) == text
    assert len(openings) == 5


@pytest.mark.parametrize("age", [SETTLED, SETTLED + 1, -SETTLED])
@pytest.mark.parametrize("changed", ["content", "name or mode"])
async def test_one_is_young_for_two_seconds_after_either_of_its_times(
    file, tmp_path, openings, age, changed
):
    if changed == "content":
        os.utime(file, ns=(0, later()))
        written = file.stat().st_mtime_ns
    else:
        os.utime(file, ns=(0, LONG_AGO))
        written = file.stat().st_ctime_ns
    files = SmallFiles(lambda: written + age)
    for _ in range(3):
        assert await files.read(str(file), tmp_path) == b"old text"
    assert len(openings) == (1 if age > SETTLED else 3)


async def test_that_a_file_is_missing_is_found_out_at_once(read, tmp_path, openings):
    path = tmp_path / "no" / "such" / "file"
    assert await read(path) is None
    assert [at_once(read(path)) for _ in range(10)] == [None] * 10
    assert openings == []


async def test_large_files_are_read_in_a_thread_each_time(file, tmp_path, openings):
    files = SmallFiles(later)
    for size, count in ((MOST_KEPT_BYTES, 1), (MOST_KEPT_BYTES + 1, 3)):
        os.truncate(file, size)
        openings.clear()
        for _ in range(3):
            assert await files.read(str(file), tmp_path) == (b"old text" + bytes(size))[:size]
        assert len(openings) == count


async def test_the_number_of_kept_files_is_bounded(tmp_path, monkeypatch, openings):
    monkeypatch.setattr(small_files, "MOST_KEPT", 2)
    files = SmallFiles(later)
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
        assert await files.read(str(path), tmp_path) == path.name.encode()
    openings.clear()
    for path in reversed(paths):
        assert await files.read(str(path), tmp_path) == path.name.encode()
    assert len(openings) == 1


# Changes ------------------------------------------------------------------------


def write_in_place(file):
    with file.open("r+b") as stream:
        stream.write(b"new")


def write_before_it_is_closed(file):
    handle = os.open(file, os.O_WRONLY)
    os.write(handle, b"NEW")
    # Left open: the change must be seen now.


def write_and_put_the_time_back(file):
    before = file.stat()
    write_in_place(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def append(file):
    with file.open("ab") as stream:
        stream.write(b"er")


def truncate(file):
    os.truncate(file, 3)


def rename_over(file):
    other = file.with_name("script.new")
    other.write_bytes(b"another!")
    other.replace(file)


def write_by_another_name(file):
    other = file.parent.parent / "hard-link"
    other.hardlink_to(file)
    other.write_bytes(b"by other")


def move_away(file):
    file.rename(file.parent.parent / "moved")


def move_the_directory(file):
    file.parent.rename(file.parent.with_name("moved"))


def exchange_an_ancestor(file):
    project = file.parents[2]
    project.rename(project.with_name("moved"))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"elsewhe.")


def make_the_directory_again(file):
    shutil.rmtree(file.parents[2])
    file.parent.mkdir(parents=True)
    file.write_bytes(b"again...")


def remove_the_directory(file):
    shutil.rmtree(file.parent)


CHANGES = [
    write_in_place,
    write_before_it_is_closed,
    write_and_put_the_time_back,
    append,
    truncate,
    rename_over,
    write_by_another_name,
    move_away,
    move_the_directory,
    exchange_an_ancestor,
    make_the_directory_again,
    remove_the_directory,
    Path.unlink,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("settled", [False, True])
async def test_every_change_is_seen_at_once(file, tmp_path, change, settled):
    files = SmallFiles(later if settled else time.time_ns)
    assert await files.read(str(file), tmp_path) == b"old text"
    if settled:
        wait_for_a_tick(file)
    change(file)
    expected = file.read_bytes() if file.exists() else None
    assert expected != b"old text"
    assert await files.read(str(file), tmp_path) == expected


async def test_a_file_that_appears_is_seen_at_once_at_every_level(read, tmp_path):
    path = tmp_path / "a" / "b" / "c" / "script"
    assert await read(path) is None
    for made in reversed(path.parents[:3]):
        made.mkdir()
        assert await read(path) is None
    path.write_bytes(b"text")
    assert await read(path) == b"text"
    for removed in path.parents[:3]:
        shutil.rmtree(removed)
        assert await read(path) is None
        path.parent.mkdir(parents=True)
        path.write_bytes(b"again")
        assert await read(path) == b"again"


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_what_appears_by_a_new_name_is_seen_at_once(file, tmp_path, level):
    """A rename makes nothing and changes nothing of what it puts there."""
    files = SmallFiles(later)
    there = [file, *file.parents][level]
    away = tmp_path / "away"
    there.rename(away)
    assert await files.read(str(file), tmp_path) is None
    away.rename(there)
    assert await files.read(str(file), tmp_path) == b"old text"


async def test_what_is_mounted_over_a_directory_is_seen_at_once(read, file):
    def run(*command):
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert await read(file) == b"old text"
    mounted = run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(file.parent))
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        assert await read(file) is None
        file.write_bytes(b"on the mounted one")
        assert await read(file) == b"on the mounted one"
    finally:
        run("umount", "--lazy", str(file.parent))
    assert await read(file) == b"old text"


async def test_a_writer_is_never_ahead_of_what_is_read(read, tmp_path):
    """The number in the file grows; what was complete before the question is in the answer."""
    path = tmp_path / "a" / "number"
    path.parent.mkdir()
    path.write_bytes(bytes(8))
    complete = 0

    def make_next(number):
        data = number.to_bytes(8)
        if number % 3 == 0:
            path.with_suffix(".new").write_bytes(data)
            path.with_suffix(".new").replace(path)
        elif number % 100 == 1:
            path.parent.rename(tmp_path / "old")
            path.parent.mkdir()
            path.write_bytes(data)
            shutil.rmtree(tmp_path / "old")
        else:
            handle = os.open(path, os.O_WRONLY)
            os.write(handle, data)
            os.close(handle)

    def write():
        nonlocal complete
        for number in range(1, 5001):
            make_next(number)
            complete = number

    async def ask():
        while complete < 5000:
            least = complete
            content = await read(path)
            # While its directory is exchanged there is no file, or an empty one.
            assert not content or int.from_bytes(content) >= least
            # Another one may be asked meanwhile.
            await asyncio.sleep(0)

    await asyncio.gather(asyncio.to_thread(write), *(ask() for _ in range(3)))
    assert await read(path) == (5000).to_bytes(8)


# What is not read ---------------------------------------------------------------


def make_pipe(file):
    os.mkfifo(file)


def make_socket(file):
    directory = os.open(file.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        # The path itself may be too long for a socket.
        listener.bind(f"/proc/self/fd/{directory}/{file.name}")
    os.close(directory)


def make_large(file):
    file.touch()
    os.truncate(file, LARGEST + 1)


def make_huge(file):
    file.touch()
    os.truncate(file, 1536 * 1024 * 1024)


def make_link(file):
    file.symlink_to(file.parents[3] / "elsewhere")


def make_link_beside(file):
    file.with_name("beside").write_text("text")
    file.symlink_to("beside")


def make_link_to_nothing(file):
    file.symlink_to("nothing")


def link_the_directory(file):
    file.parent.rename(file.parents[3] / "moved")
    (file.parents[3] / "moved" / file.name).write_text("text")
    file.parent.symlink_to(file.parents[3] / "moved")


REFUSED = [
    (Path.mkdir, "Is a directory"),
    (make_pipe, "not a regular file"),
    (make_socket, "not a regular file"),
    (make_large, f"more than {LARGEST} bytes"),
    (make_huge, f"more than {LARGEST} bytes"),
    (make_link, "not a regular file"),
    (make_link_beside, "not a regular file"),
    (make_link_to_nothing, "not a regular file"),
    (link_the_directory, "Not a directory"),
]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("refused", REFUSED)
async def test_only_a_regular_file_within_the_bound_is_read(read, file, refused, kept):
    make, reason = refused
    (file.parents[3] / "elsewhere").write_text("secret")
    if kept:
        assert await read(file) == b"old text"
    file.unlink()
    make(file)
    tracemalloc.start()
    try:
        for _ in range(2):
            with pytest.raises(OSError, match=reason):
                await read(file)
        assert tracemalloc.get_traced_memory()[1] < LARGEST
    finally:
        tracemalloc.stop()


async def test_one_of_just_the_bound_is_read(read, file):
    os.truncate(file, LARGEST)
    assert await read(file) == b"old text" + bytes(LARGEST - 8)


async def test_a_small_file_that_gets_too_large_is_refused(read, file):
    assert await read(file) == b"old text"
    os.truncate(file, LARGEST + 1)
    with pytest.raises(OSError, match="more than"):
        await read(file)
    os.truncate(file, 3)
    assert await read(file) == b"old"


async def test_one_that_may_not_be_read_any_more_is_refused(read, file):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    assert await read(file) == b"old text"
    for path, allowed in ((file, 0o600), (file.parent, 0o700)):
        path.chmod(0)
        with pytest.raises(PermissionError):
            await read(file)
        path.chmod(allowed)
        assert await read(file) == b"old text"


@pytest.mark.parametrize("way", ["{0}/../node/script", "{0}/script/..", "{0}/../../../secret"])
async def test_a_name_that_leads_elsewhere_is_refused(read, file, way):
    with pytest.raises(OSError, match=r"its name leads elsewhere|Not a directory"):
        await read(way.format(file.parent))


async def test_the_directory_itself_may_be_behind_a_link(files, file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "project")
    for text in (b"old text", b"new text"):
        file.write_bytes(text)
        assert await files.read(f"{link}/files/node/script", link) == text


async def test_nothing_is_left_open(read, file):
    before = len(os.listdir("/proc/self/fd"))
    for change in (write_in_place, rename_over, Path.unlink, make_pipe, Path.unlink, make_large):
        change(file)
        await asyncio.gather(read(file), read(file), return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) == before


# Where files change behind the kernel's back ---------------------------------------


async def test_a_file_system_that_is_not_local_is_read_in_a_thread_each_time(
    file, tmp_path, monkeypatch, openings
):
    monkeypatch.setattr(small_files, "LOCAL", frozenset())
    files = SmallFiles(later)
    stats = []
    monkeypatch.setattr(os, "stat", lambda *args, **_: stats.append(args))
    for _ in range(3):
        assert await files.read(str(file), tmp_path) == b"old text"
        assert await files.read(f"{file}.none", tmp_path) is None
    assert len(openings) == 3
    assert stats == []


async def test_the_file_system_of_a_missing_file_is_that_of_its_directory(tmp_path):
    (tmp_path / "link").symlink_to("/proc")
    for path, local in (
        ("/dev/shm/no/such/file", True),
        ("/proc/self/status", False),
        ("/proc/no/such/file", False),
        (f"{tmp_path}/link/no/such/file", False),
    ):
        assert await asyncio.to_thread(is_local, Path(path)) == local
