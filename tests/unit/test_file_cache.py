"""The file cache: every answer as new as its question, whatever is done to the file."""

import asyncio
import errno
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from gns3server.nodes import file_watch
from gns3server.nodes.file_cache import FileCache
from gns3server.nodes.file_watch import LARGEST, read_watched
from gns3server.running import inotify as inotify_module
from gns3server.running.inotify import Inotify


class Reader:
    """Reads as the cache does, counts, and may be held up after the reading."""

    def __init__(self):
        self.paths = []
        self.held = {}

    def hold(self, path):
        """Hold the next reading of a path; returns the events "was read" and "may go on"."""
        self.held[str(path)] = gates = threading.Event(), threading.Event()
        return gates

    def __call__(self, inotify, path, places):
        self.paths.append(path)
        try:
            return read_watched(inotify, path, places)
        finally:
            was_read, go_on = self.held.pop(path, (None, None))
            if was_read is not None:
                was_read.set()
                assert go_on.wait(30)

    @property
    def count(self):
        return len(self.paths)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
async def make_cache(reader):
    caches = []

    def make(**options):
        caches.append(FileCache(**{"read": reader, **options}))
        return caches[-1]

    yield make
    for cache in caches:
        await cache.close()


@pytest.fixture
def cache(make_cache):
    return make_cache()


@pytest.fixture(autouse=True)
def nothing_blocks():
    with blockbuster_ctx(scanned_modules=["gns3server.nodes", "gns3server.running"]):
        yield


@pytest.fixture
def file(tmp_path):
    """A file in a directory of its own, three levels deep."""
    path = tmp_path / "project" / "files" / "node" / "script"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old text")
    return path


def watch_count():
    """How many watches this process has."""
    total = 0
    for handle in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{handle}") == "anon_inode:inotify":
                total += Path(f"/proc/self/fdinfo/{handle}").read_text().count("inotify wd:")
        except FileNotFoundError:
            continue
    return total


def most_queued():
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


def inotify_handles():
    found = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{handle}")
        except FileNotFoundError:
            continue
        if target == "anon_inode:inotify" or target.endswith("/mountinfo"):
            found.append(target)
    return found


# What is kept -------------------------------------------------------------------


async def test_an_unchanged_file_is_read_once(cache, reader, file):
    assert [await cache.read(str(file)) for _ in range(100)] == [b"old text"] * 100
    assert reader.count == 1


async def test_that_a_file_is_missing_is_found_out_once(cache, reader, tmp_path):
    path = str(tmp_path / "no" / "such" / "file")
    assert [await cache.read(path) for _ in range(100)] == [None] * 100
    assert reader.count == 1


async def test_a_hit_waits_for_nothing(cache, file):
    await cache.read(str(file))
    with pytest.raises(StopIteration) as end:
        cache.read(str(file)).send(None)
    assert end.value.value == b"old text"


async def test_what_happens_beside_a_file_drops_nothing(cache, reader, file):
    assert await cache.read(str(file)) == b"old text"
    log = file.with_name("log")
    for _ in range(3):
        with log.open("ab") as stream:
            stream.write(b"a line")
        log.rename(file.with_name("log.1"))
        file.with_name("log.1").unlink()
        (file.parent.parent / "other").mkdir()
        (file.parent.parent / "other").rmdir()
        file.read_bytes()
        assert await cache.read(str(file)) == b"old text"
    assert reader.count == 1


# Changes ------------------------------------------------------------------------


def write_in_place(file):
    with file.open("r+b") as stream:
        stream.write(b"new")


def write_before_it_is_closed(file):
    handle = os.open(file, os.O_WRONLY)
    os.write(handle, b"NEW")
    # Left open: the change must be seen now.


def append(file):
    with file.open("ab") as stream:
        stream.write(b"er")


def truncate(file):
    os.truncate(file, 3)


def rename_over(file):
    other = file.with_name("script.new")
    other.write_bytes(b"another file")
    other.replace(file)


def exchange_for_a_link(file):
    other = file.with_name("elsewhere")
    other.write_bytes(b"behind a link")
    file.unlink()
    file.symlink_to(other)


def write_by_another_name(file):
    other = file.parent.parent / "hard-link"
    other.hardlink_to(file)
    other.write_bytes(b"by another name")


def move_away(file):
    file.rename(file.parent.parent / "moved")


def move_the_directory(file):
    file.parent.rename(file.parent.with_name("moved"))


def exchange_an_ancestor(file):
    project = file.parents[2]
    project.rename(project.with_name("moved"))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"in another tree")


def make_the_directory_again(file):
    shutil.rmtree(file.parents[2])
    file.parent.mkdir(parents=True)
    file.write_bytes(b"made again")


def remove_the_directory(file):
    shutil.rmtree(file.parent)


CHANGES = [
    write_in_place,
    write_before_it_is_closed,
    append,
    truncate,
    rename_over,
    exchange_for_a_link,
    write_by_another_name,
    move_away,
    move_the_directory,
    exchange_an_ancestor,
    make_the_directory_again,
    remove_the_directory,
    Path.unlink,
]


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_is_seen_at_once(cache, file, change):
    assert await cache.read(str(file)) == b"old text"
    change(file)
    expected = file.read_bytes() if file.exists() else None
    assert expected != b"old text"
    assert await cache.read(str(file)) == expected


async def test_a_changed_mode_has_the_file_read_again(cache, reader, file):
    for count, mode in enumerate((0o600, 0o640, 0o644), 1):
        file.chmod(mode)
        assert await cache.read(str(file)) == b"old text"
        assert reader.count == count


async def test_a_file_that_appears_is_seen_at_once_at_every_level(cache, reader, tmp_path):
    path = tmp_path / "a" / "b" / "c" / "script"
    assert await cache.read(str(path)) is None
    for made in reversed(path.parents[:3]):
        before = reader.count
        made.mkdir()
        assert await cache.read(str(path)) is None
        assert await cache.read(str(path)) is None
        assert reader.count == before + 1
    path.write_bytes(b"text")
    assert await cache.read(str(path)) == b"text"
    for removed in path.parents[:3]:
        shutil.rmtree(removed)
        assert await cache.read(str(path)) is None
        path.parent.mkdir(parents=True)
        path.write_bytes(b"again")
        assert await cache.read(str(path)) == b"again"


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_what_appears_by_a_new_name_is_seen_at_once(cache, file, level):
    """A rename makes nothing and changes nothing of what it puts there."""
    there = [file, *file.parents][level]
    away = file.parents[3] / "away"
    there.rename(away)
    assert await cache.read(str(file)) is None
    away.rename(there)
    assert await cache.read(str(file)) == b"old text"


async def test_what_is_mounted_over_a_directory_is_seen_at_once(cache, file):
    def run(*command):
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert await cache.read(str(file)) == b"old text"
    mounted = run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(file.parent))
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        assert await cache.read(str(file)) is None
        file.write_bytes(b"on the mounted one")
        assert await cache.read(str(file)) == b"on the mounted one"
    finally:
        run("umount", "--lazy", str(file.parent))
    assert await cache.read(str(file)) == b"old text"


@pytest.mark.parametrize("kept", [True, False])
async def test_a_file_that_cannot_be_read_is_an_error(cache, file, kept):
    if kept:
        await cache.read(str(file))
    file.unlink()
    file.mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            await cache.read(str(file))


async def test_a_writer_is_never_ahead_of_what_is_read(cache, tmp_path):
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
            content = await cache.read(str(path))
            # While its directory is exchanged there is no file, or an empty one.
            assert not content or int.from_bytes(content) >= least
            # Another one may be asked meanwhile.
            await asyncio.sleep(0)

    await asyncio.gather(asyncio.to_thread(write), *(ask() for _ in range(3)))
    assert await cache.read(str(path)) == (5000).to_bytes(8)


# Races --------------------------------------------------------------------------


class Meddled(Inotify):
    """Has something happen right before or after one of its watches is set."""

    def __init__(self, number, after, happen):
        super().__init__()
        self.number = number
        self.after = after
        self.happen = happen

    def watch(self, handle, mask):
        self.number -= 1
        if self.number == 0 and not self.after:
            self.happen()
        watch = super().watch(handle, mask)
        if self.number == 0 and self.after:
            self.happen()
        return watch


def make_file(file):
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"made")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("change", [*CHANGES, make_file])
async def test_a_change_while_watches_are_set_is_not_lost(make_cache, tmp_path, change, after):
    for number in range(1, len(tmp_path.parts) + 5):
        root = tmp_path / f"{number}"
        path = root / "project" / "files" / "node" / "script"
        path.parent.mkdir(parents=True)
        if change is make_file:
            # Missing from another level each time.
            (path.parent.rmdir if number % 2 else path.parent.touch)()
        else:
            path.write_bytes(b"old text")
        instance = Meddled(number, after, lambda path=path: change(path))
        cache = make_cache(open_inotify=lambda instance=instance: instance)
        first = await cache.read(str(path))
        if instance.number > 0:
            # There were fewer to set.
            change(path)
        expected = path.read_bytes() if path.exists() else None
        assert first in {None, b"old text", expected}
        assert await cache.read(str(path)) == expected


async def wait(event):
    assert await asyncio.to_thread(event.wait, 30)


async def test_a_change_that_another_took_note_of_is_not_lost(cache, reader, file, tmp_path):
    was_read, go_on = reader.hold(file)
    reading = asyncio.create_task(cache.read(str(file)))
    await wait(was_read)
    file.write_bytes(b"new text")
    # Takes the event out of the queue before there is something to drop.
    assert await cache.read(str(tmp_path / "nothing")) is None
    go_on.set()
    await reading
    assert await cache.read(str(file)) == b"new text"


async def test_a_change_during_the_reading_is_not_lost(cache, reader, file):
    was_read, go_on = reader.hold(file)
    reading = asyncio.create_task(cache.read(str(file)))
    await wait(was_read)
    file.write_bytes(b"new text")
    go_on.set()
    await reading
    assert await cache.read(str(file)) == b"new text"


async def test_a_watch_that_went_during_the_reading_is_not_relied_upon(make_cache, reader, file):
    cache = make_cache(most_files=1)
    # Has the directory's watch, which the reading below gets as well.
    await cache.read(str(file.with_name("beside")))
    missing = file.with_name("missing")
    was_read, go_on = reader.hold(missing)
    reading = asyncio.create_task(cache.read(str(missing)))
    await wait(was_read)
    before = watch_count()
    # Takes the place of the first; then watches that nothing kept needs are removed.
    elsewhere = file.parents[3] / "elsewhere"
    await cache.read(str(elsewhere))
    (file.parents[3] / "link").symlink_to(elsewhere)
    await cache.read(str(file.parents[3] / "link"))
    assert watch_count() < before
    # Takes the news of that out of the queue.
    await cache.read(str(elsewhere))
    go_on.set()
    assert await reading is None
    missing.write_bytes(b"made")
    assert await cache.read(str(missing)) == b"made"


async def test_who_asks_after_a_reading_has_begun_gets_a_newer_one(cache, reader, file):
    was_read, go_on = reader.hold(file)
    first = asyncio.create_task(cache.read(str(file)))
    await wait(was_read)
    file.write_bytes(b"new text")
    assert await cache.read(str(file)) == b"new text"
    go_on.set()
    assert await first == b"old text"
    assert await cache.read(str(file)) == b"new text"


async def test_who_asks_before_a_reading_has_begun_shares_it(cache, reader, file):
    busy = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    occupied = loop.run_in_executor(None, busy.wait, 30)
    asking = [asyncio.create_task(cache.read(str(file))) for _ in range(5)]
    hasty = asyncio.create_task(cache.read(str(file)))
    await asyncio.sleep(0)
    hasty.cancel()
    busy.set()
    assert await asyncio.gather(*asking) == [b"old text"] * 5
    assert await occupied
    assert reader.count == 1


# Bounds -------------------------------------------------------------------------


@pytest.mark.parametrize("most_bytes", [inotify_module.MOST_BYTES, 1 << 30])
async def test_an_overflow_of_the_queue_is_survived(cache, file, monkeypatch, most_bytes):
    monkeypatch.setattr(inotify_module, "MOST_BYTES", most_bytes)
    assert await cache.read(str(file)) == b"old text"
    most = most_queued()
    one, other = file.with_name("one"), file.with_name("other")
    one.write_bytes(b"")
    for _ in range(most // 4 + 1):
        # Two events each.
        os.rename(one, other)
        os.rename(other, one)
    # No event of this one: the queue is full.
    file.write_bytes(b"new text")
    assert await cache.read(str(file)) == b"new text"
    file.write_bytes(b"newer text")
    assert await cache.read(str(file)) == b"newer text"


async def test_what_was_not_asked_for_the_longest_goes_first(make_cache, reader, tmp_path):
    cache = make_cache(most_files=2)
    paths = [str(tmp_path / name) for name in "abc"]
    for path in (paths[0], paths[1], paths[0], paths[2]):
        await cache.read(path)
    await cache.read(paths[0])
    await cache.read(paths[2])
    assert reader.paths == [paths[0], paths[1], paths[2]]
    await cache.read(paths[1])
    assert reader.count == 4


async def test_files_of_one_directory_share_its_watch(make_cache, reader, tmp_path):
    cache = make_cache(most_files=2)
    for name in "abcd":
        (tmp_path / name).write_text(name)
        assert await cache.read(str(tmp_path / name)) == name.encode()
    # Two have gone, with no harm to the two that are left.
    for name in "cd":
        assert await cache.read(str(tmp_path / name)) == name.encode()
    assert reader.count == 4
    for name in "cd":
        (tmp_path / name).write_text("new")
        assert await cache.read(str(tmp_path / name)) == b"new"


async def test_the_number_of_watches_is_bounded(make_cache, tmp_path):
    cache = make_cache(most_files=50, most_watches=50)
    for number in range(100):
        path = tmp_path / f"{number}" / "script"
        path.parent.mkdir()
        path.write_text("text")
        assert await cache.read(str(path)) == b"text"
        assert watch_count() <= 50
    assert watch_count() > 40
    path = tmp_path / "99" / "script"
    path.write_text("new")
    assert await cache.read(str(path)) == b"new"


async def test_files_that_are_replaced_over_and_over_take_no_more_watches(make_cache, file):
    cache = make_cache(most_watches=30)
    old = file.parents[2]
    for number in range(50):
        # Still there under other names, so that their watches are as well.
        file.rename(old / f"{number}")
        file.write_text(f"{number}")
        assert await cache.read(str(file)) == f"{number}".encode()
        assert watch_count() <= 30


async def test_large_files_are_not_kept(cache, reader, file):
    file.write_bytes(bytes(LARGEST))
    for size in (LARGEST, LARGEST, LARGEST + 1, LARGEST + 1):
        os.truncate(file, size)
        assert await cache.read(str(file)) == bytes(size)
        before = reader.count
        assert await cache.read(str(file)) == bytes(size)
        assert reader.count - before == (size > LARGEST)


# Where nothing can be watched ----------------------------------------------------


class Exhausted(Inotify):
    """Like a user's instance that has no more watches to give."""

    room = 0

    def watch(self, handle, mask):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= 1
        return super().watch(handle, mask)


@pytest.mark.parametrize("room", [0, 1, 5])
async def test_without_room_for_watches_files_are_read_each_time(make_cache, reader, file, room):
    instance = Exhausted()
    instance.room = room
    cache = make_cache(open_inotify=lambda: instance)
    for text in ("a", "b", "c"):
        file.write_text(text)
        assert await cache.read(str(file)) == text.encode()
        assert await cache.read(str(file)) == text.encode()
    assert reader.count == 6
    # The few that it got are given back.
    assert watch_count() == 0
    instance.room = 1000
    assert await cache.read(str(file)) == b"c"
    assert await cache.read(str(file)) == b"c"
    assert reader.count == 7


async def test_without_an_instance_files_are_read_each_time(make_cache, file, caplog):
    asked = []

    def refuse():
        asked.append(1)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    cache = make_cache(open_inotify=refuse)
    for text in ("a", "b", "c"):
        file.write_text(text)
        assert await cache.read(str(file)) == text.encode()
    file.unlink()
    assert await cache.read(str(file)) is None
    assert asked == [1]
    assert caplog.text.count("max_user_instances") == 1


async def test_a_file_system_that_does_not_tell_is_read_each_time(cache):
    path = "/proc/sys/kernel/random/uuid"
    assert len({await cache.read(path) for _ in range(10)}) == 10


async def test_a_directory_that_takes_names_otherwise_is_not_watched(
    cache, reader, file, monkeypatch
):
    monkeypatch.setattr(inotify_module, "folds_case", lambda _: True)
    for _ in range(3):
        assert await cache.read(str(file)) == b"old text"
    assert reader.count == 3


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_behind_a_link_a_file_is_read_each_time(cache, file, level):
    """What a link leads through is not watched."""
    root, shown = file.parents[3], [file, *file.parents][level]
    shutil.copytree(file.parents[2], root / "copy")
    (root / "copy" / "files" / "node" / "script").write_text("the copy")
    other = root / "copy" / shown.relative_to(file.parents[2])
    (root / "way").mkdir()
    hop, link = root / "way" / "hop", root / "link"
    link.symlink_to(hop)
    path = str(link / file.relative_to(shown)).removesuffix("/.")
    for target, text in ((shown, b"old text"), (other, b"the copy"), (shown, b"old text")):
        hop.unlink(missing_ok=True)
        hop.symlink_to(target)
        assert await cache.read(path) == text


@pytest.mark.parametrize("way", ["{0}//script", "{0}/./script", "{0}/../node/script"])
async def test_a_path_that_is_not_plain_is_read_each_time(cache, file, way):
    path = way.format(file.parent)
    for text in ("a", "b"):
        file.write_text(text)
        assert await cache.read(path) == text.encode()


# The end ------------------------------------------------------------------------


async def test_nothing_is_left_after_the_close(make_cache, reader, file):
    before = inotify_handles(), watch_count()
    cache = make_cache()
    assert inotify_handles() == before[0]
    await cache.read(str(file))
    assert len(inotify_handles()) == len(before[0]) + 2
    await cache.close()
    assert (inotify_handles(), watch_count()) == before
    for text in ("a", "b"):
        file.write_text(text)
        assert await cache.read(str(file)) == text.encode()
    assert inotify_handles() == before[0]


async def test_the_close_waits_for_what_is_being_read(cache, reader, file):
    was_read, go_on = reader.hold(file)
    reading = asyncio.create_task(cache.read(str(file)))
    await wait(was_read)
    closing = asyncio.create_task(cache.close())
    await asyncio.sleep(0)
    assert len(inotify_handles()) >= 2
    assert not closing.done()
    go_on.set()
    await closing
    assert await reading == b"old text"
    assert inotify_handles() == []


async def test_a_failed_walk_leaves_no_handle_open(cache, file, monkeypatch):
    await cache.read(str(file))
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(file_watch, "LARGEST", 1)
    for text in ("large", "larger"):
        file.write_text(text)
        await cache.read(str(file))
    file.unlink()
    await cache.read(str(file))
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_server_gives_its_watches_back(gns3_serving, file):
    before = inotify_handles()
    async with gns3_serving(plugins=[]) as server:
        files = server.running.server.manager.machine.files
        assert await files.read(str(file)) == b"old text"
        assert len(inotify_handles()) == len(before) + 2
    assert inotify_handles() == before
