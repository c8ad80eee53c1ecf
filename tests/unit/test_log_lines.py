"""Log records: one line each, whatever the names in them are made of."""

from __future__ import annotations

import io
import logging

import pytest

from gns3server.log.lines import OneLine

FORMAT = "%(levelname)s %(message)s"


@pytest.fixture
def log():
    """A logger, and what it has written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(FORMAT))
    logger = logging.getLogger(f"{__name__}.{id(stream)}")
    logger.addHandler(handler)
    yield logger, stream.getvalue
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a\nINFO b", r"a\nINFO b"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[2Ja\x9b1m", r"\x1b[2Ja\x9b1m"),
        ("a\0\x07\x08\x7f", r"a\x00\x07\x08\x7f"),
        ("a\x85b\u2028c\u2029d", r"a\x85b\u2028c\u2029d"),
        ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
        ("Z\u00fcrich \u4e2d \U0001f600 \\n", "Z\u00fcrich \u4e2d \U0001f600 \\n"),
    ],
    ids=ascii,
)
def test_a_record_is_one_line(log, name, written):
    logger, text = log
    logger.warning("no project %s", name)
    assert text() == f"WARNING no project {written}\n"
    text().encode()


def test_what_is_no_text_is_escaped():
    # Not logged: pytest keeps what is, and cannot hand a lone surrogate to whoever collects it.
    record = logging.makeLogRecord({"levelname": "WARNING", "msg": "no project \ud800"})
    assert OneLine(FORMAT).format(record) == r"WARNING no project \ud800"


def test_a_traceback_is_indented_and_forges_nothing(log):
    logger, text = log
    try:
        raise ValueError("x\nERROR forged\x1b[0m")
    except ValueError:
        logger.exception("it %s", "failed\nERROR forged", stack_info=True)
    first, *rest = text().removesuffix("\n").split("\n")
    assert first == r"ERROR it failed\nERROR forged"
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in text()
