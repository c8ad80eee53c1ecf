"""The thread that writes a capture, on a disk that is slow."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest
from pcap_files import frames_of
from waiting import until

from gns3server.links.panel import capture, capture_file, pcap
from gns3server.links.panel.capture import Capture
from gns3server.links.panel.wanted import WantedCapture
from gns3server.running.threads import SeparateThreads

FRAMES = [number.to_bytes(1000, "big") for number in range(64)]


@pytest.fixture
def wanted(tmp_path):
    return WantedCapture(tmp_path / "file.pcap", None, 65535, 10_000_000)


@pytest.fixture
def slow_disk(monkeypatch):
    """A disk that takes nothing until the event is set that is given."""
    goes_on = threading.Event()
    write = os.pwrite

    def pwrite(descriptor, data, position):
        # The header is written while the file is opened.
        if position:
            goes_on.wait()
        return write(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    yield goes_on
    goes_on.set()


@pytest.fixture
def threads():
    made = SeparateThreads("test", 2)
    yield made
    made.close()


async def test_what_a_slow_disk_does_not_take_is_lost_counted_and_told(
    wanted, slow_disk, threads, monkeypatch
):
    chunk = len(pcap.records(FRAMES, 0, 65535))
    monkeypatch.setattr(capture_file, "MAX_WAITING", 3 * chunk)
    told = []
    taken = await Capture.open(wanted, lambda *event: told.append(event), threads)
    for _ in range(5):
        taken.take(FRAMES)
    assert taken.status()["dropped"] == 2 * 64
    # Once, until it has caught up.
    assert told == [("capture_behind", {"dropped": 64})]
    slow_disk.set()
    await taken.close()
    assert frames_of(wanted.path) == FRAMES * 3


async def test_a_capture_on_a_disk_that_does_not_answer_is_closed_without_waiting_for_it(
    wanted, slow_disk, threads, monkeypatch
):
    monkeypatch.setattr(capture, "OPEN_SECONDS", 0.1)
    taken = await Capture.open(wanted, lambda *_: None, threads)
    taken.take(FRAMES)
    await taken.close()
    assert taken.status()["ended"] is None
    slow_disk.set()


async def test_a_disk_that_does_not_open_a_file_is_given_up(wanted, threads, monkeypatch):
    goes_on = threading.Event()
    opened = capture_file.open_capture

    def open_capture(*arguments):
        goes_on.wait()
        return opened(*arguments)

    monkeypatch.setattr(capture_file, "open_capture", open_capture)
    monkeypatch.setattr(capture, "OPEN_SECONDS", 0.1)
    with pytest.raises(OSError, match="there was no answer within"):
        await Capture.open(wanted, lambda *_: None, threads)
    goes_on.set()
    # What was opened too late is closed: another one may have it.
    monkeypatch.setattr(capture, "OPEN_SECONDS", 10.0)

    async def opens():
        with suppress(OSError):
            second.append(await Capture.open(wanted, lambda *_: None, threads))
        return bool(second)

    second: list[Capture] = []
    await until(opens)
    await second[0].close()
