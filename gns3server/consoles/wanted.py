"""What the server wants of the console server: its consoles, checked field by field.

Checked here and not by a schema, because the process that holds all terminals of a machine has
to be small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

MAX_CONSOLES = 20_000
MAX_SCROLLBACK = 16 * 1024 * 1024
MAX_TEXT = 4096
"""How long a name, a path or a declared text may be, in characters."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FarewellRule:
    """How one client takes its leave of a program that knows nothing of clients.

    :param command: how the line begins that it enters.
    :param refusal: the line by which the program says that it cannot.
    :param answer: the line that the client gets instead, before it is hung up on.
    """

    command: bytes
    refusal: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class InputRules:
    """What a program needs of whoever types.

    :param follow: is sent after each input while the terminal is raw.
    :param by_line: each line is handed over when the one before has been dealt with.
    :param break_text: what a break sends; empty for the terminal's own.
    """

    follow: bytes = b""
    by_line: bool = False
    break_text: bytes = b""
    farewell: FarewellRule | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where a console's bytes come from.

    :param kind: a terminal that is handed over, or what to connect to.
    :param path: of a unix socket.
    :param host: of a TCP port.
    """

    kind: Literal["terminal", "unix", "tcp"]
    path: str = ""
    host: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A console.

    :param given: all of this, as the server has said it.
    :param host: the address that it is served on.
    :param port: the TCP port, if it is served on one.
    :param scrollback: how many bytes are kept for who comes late.
    :param transcript: a file that all output is added to.
    """

    id: str
    given: Mapping[str, Any]
    host: str
    port: int | None
    source: Source
    scrollback: int
    transcript: str | None
    input: InputRules


def read_state(
    what: Mapping[str, Any], former: Mapping[str, Wanted]
) -> tuple[int, dict[str, Wanted]]:
    """Read the wanted state: its number, and the consoles by id.

    :param former: consoles that were wanted before. Those that are said in the same words are not
        checked again: all of them come with each change of one.
    :raises ValueError: it is none; the text says where.
    """
    number = field(what, "number", int)
    consoles = field(what, "consoles", list)
    if len(consoles) > MAX_CONSOLES:
        raise ValueError(f"there are more than {MAX_CONSOLES} consoles")
    wanted: dict[str, Wanted] = {}
    for entry in consoles:
        if not isinstance(entry, dict):
            raise ValueError("a console must be an object")
        name = text(entry, "id")
        if name in wanted:
            raise ValueError(f"there are two consoles {name!r}")
        if name in former and former[name].given == entry:
            wanted[name] = former[name]
            continue
        try:
            wanted[name] = _console(name, entry)
        except ValueError as error:
            raise ValueError(f"console {name!r}: {error}") from error
    return number, wanted


def field(what: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A value of a type.

    :raises ValueError: it is missing, or of another type.
    """
    value = what.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name!r} must be of type {kind.__name__}")
    return value


def whole_number(what: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """A number in a range.

    :raises ValueError: it is something else.
    """
    value = field(what, name, int)
    if not least <= value <= most:
        raise ValueError(f"{name!r} must be from {least} to {most}")
    return value


def text(what: Mapping[str, Any], name: str) -> str:
    """A text that is not empty.

    :raises ValueError: it is something else, or is longer than any that makes sense.
    """
    value = field(what, name, str)
    if not 0 < len(value) <= MAX_TEXT or "\0" in value:
        raise ValueError(f"{name!r} must have 1 to {MAX_TEXT} characters, none of them NUL")
    return value


def _console(name: str, entry: Mapping[str, Any]) -> Wanted:
    return Wanted(
        id=name,
        given=entry,
        host=text(entry, "host"),
        port=None if entry.get("port") is None else whole_number(entry, "port", 1, 65535),
        source=_source(field(entry, "source", dict)),
        scrollback=whole_number(entry, "scrollback", 0, MAX_SCROLLBACK),
        transcript=None if entry.get("transcript") is None else text(entry, "transcript"),
        input=InputRules() if entry.get("input") is None else _input(field(entry, "input", dict)),
    )


def _source(source: Mapping[str, Any]) -> Source:
    kind = source.get("kind")
    if kind == "terminal":
        return Source("terminal")
    if kind == "unix":
        return Source("unix", path=text(source, "path"))
    if kind == "tcp":
        port = whole_number(source, "port", 1, 65535)
        return Source("tcp", host=text(source, "host"), port=port)
    raise ValueError("the kind of a source must be 'terminal', 'unix' or 'tcp'")


def _input(rules: Mapping[str, Any]) -> InputRules:
    farewell = rules.get("farewell")
    return InputRules(
        follow=_bytes(rules, "follow") if "follow" in rules else b"",
        by_line=field(rules, "by_line", bool) if "by_line" in rules else False,
        break_text=_bytes(rules, "break_text") if "break_text" in rules else b"",
        farewell=None if farewell is None else _farewell(field(rules, "farewell", dict)),
    )


def _farewell(rule: Mapping[str, Any]) -> FarewellRule:
    command, refusal = _bytes(rule, "command"), _bytes(rule, "refusal")
    if not command or not refusal:
        raise ValueError("neither the command nor the refusal of a farewell may be empty")
    return FarewellRule(command, refusal, _bytes(rule, "answer"))


def _bytes(what: Mapping[str, Any], name: str) -> bytes:
    """Bytes, each of which is written as the character of its number."""
    value = field(what, name, str)
    if len(value) > MAX_TEXT:
        raise ValueError(f"{name!r} must have at most {MAX_TEXT} bytes")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"each character of {name!r} must stand for a byte") from None
