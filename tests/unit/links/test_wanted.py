"""What the server asks the link panel for, right and wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gns3server.links.panel.wanted import WantedCapture, WantedEnd, read_link, read_links

END = {"local_port": 20000, "remote_host": "127.0.0.1", "remote_port": 10000}
LINK = {"id": "x", "ends": [END, {**END, "local_port": 20001, "remote_port": 10001}]}


def test_what_is_not_named_is_as_usual():
    link = read_link(LINK)
    assert (link.host, link.relay, link.suspended) == ("127.0.0.1", True, False)
    assert (link.seed, link.filters, link.capture) == (0, {}, None)
    assert link.ends == (
        WantedEnd(20000, "127.0.0.1", 10000),
        WantedEnd(20001, "127.0.0.1", 10001),
    )


def test_a_link_without_a_relay_needs_no_local_ports():
    ends = [{**END, "local_port": None}, {"remote_port": 10001}]
    link = read_link({**LINK, "relay": False, "ends": ends})
    assert [end.local_port for end in link.ends] == [None, None]


def test_a_capture_keeps_whole_frames_unless_it_is_told_how_much():
    link = read_link({**LINK, "capture": {"path": "/a/b.pcap", "max_bytes": 1000}})
    assert link.capture == WantedCapture(Path("/a/b.pcap"), None, 262144, 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ends": []}, "'ends' must be a list of two ends"),
        ({"ends": [1, 2]}, "an end must be an object"),
        ({"ends": [{}, {}]}, "'local_port' must be a whole number from 1 to 65535"),
        ({"host": "example.com"}, "'host' must be an IP address, not 'example.com'"),
        ({"host": ["127.0.0.1"]}, "'host' must be an IP address"),
        ({"filters": [1]}, "'filters' must be an object"),
        ({"filters": {"delay": {"latency": -1}}}, "'latency' of the filter 'delay'"),
        ({"filters": {"smoke": {}}}, "there is no filter 'smoke'"),
        ({"seed": 1.5}, "'seed' must be a whole number"),
        ({"suspended": "no"}, "'suspended' must be true or false"),
        ({"capture": 1}, "a capture must be an object"),
        ({"capture": {"path": "relative", "max_bytes": 100}}, "'path' must be an absolute path"),
        ({"capture": {"path": "/a\0b", "max_bytes": 100}}, "'path' must be an absolute path"),
        ({"capture": {"path": "/tmp/file"}}, "'max_bytes' must be a whole number"),
    ],
)
def test_a_link_that_cannot_be_is_refused_and_the_text_says_why(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_link({**LINK, **change})


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (None, "'links' must be a list"),
        ({}, "'links' must be a list"),
        ([1], "each link must be an object with an id"),
        ([{}], "each link must be an object with an id"),
        ([{"id": 5}], "each link must be an object with an id"),
        ([{"id": "x"}, {"id": "x"}], "there are two links 'x'"),
        ([{"id": "x"}] * 5000, "'links' must be a list of 4096 links at most"),
    ],
)
def test_a_state_that_is_none_is_refused(links, message):
    with pytest.raises(ValueError, match=message):
        read_links({"links": links})
