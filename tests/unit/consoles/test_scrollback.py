"""The scroll-back: bounded, and begun where a terminal can begin."""

import pytest

from gns3server.consoles.scrollback import ScrollBack


def kept(size: int, *pieces: bytes) -> bytes:
    scrollback = ScrollBack(size)
    for piece in pieces:
        scrollback.add(piece)
    return scrollback.replay()


def test_all_is_kept_that_has_room():
    assert kept(10, b"01234", b"56789") == b"0123456789"
    assert kept(10, b"\x80\xbf[31m") == b"\x80\xbf[31m"


@pytest.mark.parametrize(
    ("pieces", "replayed"),
    [
        ([b"first\n", b"second\n"], b"second\n"),
        ([b"no line's end"], b"line's end"),
        ([b"xxxxxxxx", "€uro".encode() * 2], b"uro\xe2\x82\xacuro"),
        ([b"\x1b[31mred \x1b[0mplain"], b"\x1b[0mplain"),
        ([b"x" * 1000 + b"\n", b"12345"], b"12345"),
    ],
)
def test_what_was_cut_begins_at_a_sane_place(pieces, replayed):
    assert kept(10, *pieces) == replayed


def test_nothing_is_kept_without_room():
    assert kept(0, b"abc") == b""


def test_end_is_as_long_as_asked_for():
    scrollback = ScrollBack(10)
    scrollback.add(b"0123456789abcdef")
    assert scrollback.tail(3) == b"def"
    assert scrollback.tail(100) == b"6789abcdef"
    assert scrollback.tail(0) == b""


def test_room_changes():
    scrollback = ScrollBack(10)
    scrollback.add(b"0123456789")
    scrollback.resize(4)
    scrollback.resize(100)
    scrollback.add(b"a" * 10)
    assert scrollback.tail(100) == b"6789" + b"a" * 10
