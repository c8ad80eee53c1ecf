"""How a client takes its leave: found in what is typed and shown, however reads are split."""

import pytest

from gns3server.consoles.farewell import FarewellWatch, answer_length, rendered
from gns3server.consoles.wanted import FarewellRule

RULE = FarewellRule(command=b"di", refusal=b"NOT daemon mode", answer=b"Good-bye")
PROMPT = b"\r\n\rVPCS> "


class Session:
    """A program's output and its clients' input, in the order in which they come."""

    def __init__(self) -> None:
        self.shown = b""
        self.left: list[str] = []
        self.watch: FarewellWatch[str] = FarewellWatch(RULE, self._show, self.left.append)

    def _show(self, data: bytes) -> None:
        self.shown += data


def play(typed: list[bytes], output: bytes, prompt: bytes = PROMPT, step: int = 0) -> Session:
    """A session in which something is typed at a prompt, and then something is shown."""
    session = Session()
    session.watch.output(prompt)
    for keys in typed:
        session.watch.typed("client", keys)
    step = step or len(output)
    for start in range(0, len(output), step):
        session.watch.output(output[start : start + step])
    return session


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
@pytest.mark.parametrize(
    ("typed", "echo"),
    [
        ([b"disconnect\r"], b"disconnect"),
        ([b"d", b"i", b"s", b"\r"], b"dis"),
        ([b"di foo\r"], b"di foo"),
        ([b" di\r"], b" di"),
        # From the history, and corrected.
        ([b"\x1b[A", b"\r"], b"disconnect"),
        ([b"x\x7fdisc\r"], b"x\b \bdisc"),
        ([b"dxi\x1b[D\x7f\r"], b"dxi\b\bi \b\b"),
    ],
)
def test_command_and_its_refusal_are_a_farewell(typed, echo, step):
    session = play(typed, echo + b"\r\nNOT daemon mode\r\n" + PROMPT, step=step)
    assert session.left == ["client"]
    assert session.shown == PROMPT + echo + b"\r\n" + PROMPT


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(
    ("typed", "output", "prompt"),
    [
        ([b"echo NOT daemon mode\r"], b"echo NOT daemon mode\r\nNOT daemon mode\r\n", PROMPT),
        # A prompt that looks like the command.
        ([b"echo NOT daemon mode\r"], b"echo NOT daemon mode\r\nNOT daemon mode\r\n", b"\rdi> "),
        ([b"di\r"], b"di\r\nBad command\r\n", PROMPT),
        ([b"di\r"], b"di\r\nNOT daemon mode, really\r\n", PROMPT),
        ([b"di\r"], b"di\r\n NOT daemon mode\r\n", PROMPT),
        ([b"di\r"], b"di\r\nsomething\r\nNOT daemon mode\r\n", PROMPT),
        ([b"di\r"], b"di\r\nNOT daemon mode> ", PROMPT),
        # Shown by the program without anybody having pressed Enter.
        ([b"di"], b"di\r\nNOT daemon mode\r\n", PROMPT),
        ([b"di", b"\x03"], b"di\r\nNOT daemon mode\r\n", PROMPT),
    ],
)
def test_nothing_else_is_a_farewell(typed, output, prompt, step):
    session = play(typed, output, prompt, step)
    session.watch.release()
    assert session.left == []
    assert session.shown == prompt + output


def test_who_pressed_enter_leaves():
    session = Session()
    session.watch.output(PROMPT)
    session.watch.typed("one", b"disc")
    session.watch.output(b"disc")
    session.watch.typed("other", b"\r")
    session.watch.output(b"\r\nNOT daemon mode\r\n" + PROMPT)
    assert session.left == ["other"]
    # And once more.
    session.watch.typed("one", b"di\r")
    session.watch.output(b"di\r\nNOT daemon mode\r\n")
    assert session.left == ["other", "one"]


def test_output_is_held_back_no_longer_than_needed():
    session = play([b"di\r"], b"di\r\nNOT dae")
    assert session.shown.endswith(b"di\r\n")
    session.watch.output(b"d")
    assert session.shown.endswith(b"di\r\nNOT daed")


def test_flood_is_not_held_back():
    session = play([b"di\r"], b"di\r\n" + b"\r" * 100_000)
    assert session.shown.endswith(b"\r" * 99_990)


@pytest.mark.parametrize(
    ("output", "length"),
    [
        (b"yes\n", 4),
        (b"yes\r\r\nmore", 6),
        (b"\r\ryes\r\n", 7),
        (b"", None),
        (b"\r", None),
        (b"ye", None),
        (b"yes", None),
        (b"yes\r", None),
        (b"yes!", 0),
        (b"no", 0),
        (b"yesyes\n", 0),
    ],
)
def test_refusal_is_a_whole_line(output, length):
    assert answer_length(output, b"yes") == length


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (b"plain", b"plain"),
        (b"old\rnew", b"new"),
        (b"longer\rnew", b"newger"),
        (b"ab\b \bc", b"ac"),
        (b"abc\x1b[2Dx", b"axc"),
        (b"abc\x1b[2D\x1b[1Cx", b"abx"),
        (b"abc\r\x1b[Kx", b"x"),
        (b"\x1b[1;31mred\x1b[0m", b"red"),
        (b"\b\b\bx", b"x"),
        (b"D\x1b[999999999999Dx", b"x"),
        (b"a\x1b", b"a"),
        (b"a\0\ab", b"ab"),
    ],
)
def test_line_is_read_as_a_terminal_shows_it(line, seen):
    assert rendered(line) == seen
