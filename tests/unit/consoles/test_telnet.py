"""The telnet protocol, byte by byte."""

import itertools

import pytest

from gns3server.consoles import telnet
from gns3server.consoles.telnet import Break, Enter, Reply, Size, Telnet, shown

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240


def receive(*pieces: bytes) -> list[telnet.Meaning]:
    """What a new client's bytes mean, keys that follow each other joined."""
    client = Telnet()
    meanings: list[telnet.Meaning] = []
    for each in itertools.chain.from_iterable(map(client.receive, pieces)):
        if meanings and isinstance(meanings[-1], bytes) and isinstance(each, bytes):
            meanings[-1] += each
        else:
            meanings.append(each)
    return meanings


EVERYTHING = (
    b"a\r\nb\r\0c\nd\r"
    + bytes((IAC, IAC))
    + b"e"
    + bytes((IAC, DO, 1, IAC, DO, 99, IAC, WILL, 31))
    + bytes((IAC, SB, 31, 0, 80, 0, IAC, IAC, IAC, SE))
    + bytes((IAC, 243))
    + b"\r"
    + bytes((IAC, 241))
    + b"\nf"
)

MEANT = [b"a\rb\rc\rd\r\xffe", Reply(bytes((IAC, WONT, 99))), Size(80, 255), Break.BREAK, b"\rf"]


def test_bytes_mean_the_same_however_they_are_split():
    assert receive(EVERYTHING) == MEANT
    assert receive(*(bytes((each,)) for each in EVERYTHING)) == MEANT
    for place in range(len(EVERYTHING)):
        assert receive(EVERYTHING[:place], EVERYTHING[place:]) == MEANT


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        # What the greeting has offered or asked for is only acknowledged.
        ((DO, 1), None),
        ((DO, 3), None),
        ((WILL, 31), None),
        ((WILL, 0), None),
        ((DO, 24), (WONT, 24)),
        ((WILL, 24), (DONT, 24)),
        # Only one side may echo.
        ((WILL, 1), (DONT, 1)),
        ((DONT, 1), (WONT, 1)),
        ((WONT, 31), (DONT, 31)),
        ((DONT, 24), None),
        ((WONT, 24), None),
    ],
)
def test_negotiation_answers_what_changes_something(said, answer):
    expected = [] if answer is None else [Reply(bytes((IAC, *answer)))]
    assert receive(bytes((IAC, *said))) == expected


def test_negotiation_does_not_go_in_circles():
    client = Telnet()
    assert client.receive(bytes((IAC, DONT, 1))) == [Reply(bytes((IAC, WONT, 1)))]
    assert client.receive(bytes((IAC, DONT, 1))) == []
    assert client.receive(bytes((IAC, DO, 1))) == [Reply(bytes((IAC, WILL, 1)))]
    assert client.receive(bytes((IAC, DO, 1))) == []


def test_subnegotiation_without_end_is_given_up():
    client = Telnet()
    assert client.receive(bytes((IAC, SB, 31)) + b"x" * 10_000_000) == []
    assert client.receive(bytes((IAC, SE)) + b"a") == [b"a"]
    assert receive(bytes((IAC, SB, 31, 0, IAC, DO, 99)) + b"a") == [
        Reply(bytes((IAC, WONT, 99))),
        b"a",
    ]


def test_window_of_another_length_is_none():
    assert receive(bytes((IAC, SB, 31, 0, 80, 0, IAC, SE))) == []
    assert receive(bytes((IAC, SB, 24, 0, 80, 0, 25, IAC, SE))) == []


def test_output_has_each_255_doubled():
    assert shown(b"a\xffb\xff") == b"a\xff\xffb\xff\xff"


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ([b"\r", b"\n"], b"\r"),
        ([b"\r", b"\0"], b"\r"),
        ([b"\r", b"\r"], b"\r\r"),
        ([b"\n", b"\n"], b"\r\r"),
        ([b"\r\n\n"], b"\r\r"),
        ([b"\r", b"", b"\na"], b"\ra"),
        ([b"\ra", b"\n"], b"\ra\r"),
        ([b"\0"], b"\0"),
    ],
)
def test_enter_is_one_carriage_return(typed, given):
    enter = Enter()
    assert b"".join(map(enter.normalize, typed)) == given
