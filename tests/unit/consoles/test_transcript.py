"""Transcripts of consoles, on disks that are slow, stuck or full."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

from gns3server.consoles import transcript
from gns3server.consoles.transcript import LEFT_OUT, Transcript


@pytest.fixture
def threads():
    """Where disks are waited for."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def stuck(threads):
    """Makes the disk answer nothing; sets it going again."""
    going = threading.Event()

    def stick():
        going.clear()
        threads.submit(going.wait)
        return going

    yield stick
    going.set()


@pytest.fixture
def failures():
    """The reasons for which transcripts have ended."""
    return []


@pytest.fixture
async def opened(tmp_path, threads, failures):
    """A transcript that is open, and its file."""
    path = tmp_path / "console.log"
    made = Transcript(str(path), threads, failures.append)
    await made.open(soon())
    return made, path


def soon():
    """A deadline that no sound disk needs."""
    return asyncio.get_running_loop().time() + 30


async def until_content(path, content):
    """Wait until a file has this content, and no other."""

    async def has_it():
        return path.exists() and path.read_bytes() == content

    await until(has_it)


async def test_long_transcript_is_moved_aside(opened, monkeypatch):
    monkeypatch.setattr(transcript, "MAX_BYTES", 10)
    made, path = opened
    aside = path.with_name("console.log.1")
    for number, text in enumerate((b"the first, ", b"the second, ", b"the third")):
        made.add(text)
        await until_content(path, text)
        assert aside.exists() == (number > 0)
    await made.close(soon())
    assert aside.read_bytes() == b"the second, "


async def test_what_a_slow_disk_cannot_take_is_left_out_and_said(opened, stuck, monkeypatch):
    monkeypatch.setattr(transcript, "MAX_WAITING", 10)
    made, path = opened
    going = stuck()
    made.add(b"first.")
    await asyncio.sleep(0)
    # The first is on its way; from here on it waits.
    for text in (b"more than ", b"there is room for", b" left out", b" as well"):
        made.add(text)
    going.set()
    await until_content(path, b"first.more than there is room for")
    made.add(b"after")
    await made.close(soon())
    assert path.read_bytes() == b"first.more than there is room for" + LEFT_OUT + b"after"


async def test_what_is_left_out_at_the_end_is_said_too(opened, stuck, monkeypatch):
    monkeypatch.setattr(transcript, "MAX_WAITING", 0)
    made, path = opened
    going = stuck()
    for text in (b"first.", b"left out"):
        made.add(text)
    going.set()
    await made.close(soon())
    assert path.read_bytes() == b"first." + LEFT_OUT


async def test_nobody_waits_for_a_stuck_disk(opened, stuck, threads, failures, tmp_path):
    made, path = opened
    going = stuck()
    made.add(b"written later")
    now = asyncio.get_running_loop().time()
    await made.close(now)
    late = Transcript(str(tmp_path / "late.log"), threads, failures.append)
    with pytest.raises(OSError, match="the disk does not answer"):
        await late.open(now)
    descriptors = len(os.listdir("/proc/self/fd"))
    going.set()
    await until_content(path, b"written later")

    async def are_closed():
        return len(os.listdir("/proc/self/fd")) < descriptors

    await until(are_closed)
    assert failures == []


async def test_transcript_of_a_full_disk_ends_and_says_so_once(opened, failures, monkeypatch):
    made, path = opened

    def no_space(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_space)
        made.add(b"lost")

        async def has_failed():
            return failures

        await until(has_failed)
        made.add(b"lost as well")
        await made.close(soon())
    assert failures == [os.strerror(errno.ENOSPC)]
    assert path.read_bytes() == b""
