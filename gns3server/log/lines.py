"""Log records as lines that text from clients cannot forge."""

from __future__ import annotations

import logging
import re
from typing import Any

UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""What ends a line, steers a terminal, reorders or hides text, or is not text at all."""


LONGEST_LINE = 10_000
"""Characters of a record before they are escaped: no client can fill the log with a few."""

LONGEST_TRACEBACK = 50_000
"""Characters of a traceback."""


class OneLine(logging.Formatter):
    """Makes one line of each record, and indents the lines of a traceback below it.

    Names and texts from clients get into the log; with the characters of
    :data:`UNPRINTABLE` escaped as in a Python string, none looks like a separate
    record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (as logging names it)
        """The record itself, as one line."""
        return escape(shortened(super().formatMessage(record), LONGEST_LINE))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """A traceback, each line of it indented."""
        return indent(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """A stack, each line of it indented."""
        return indent(super().formatStack(stack_info))


def shortened(text: str, most: int) -> str:
    """A text of about so many characters at most: its beginning and its end."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters are left out ... {text[-half:]}"


def escape(text: str) -> str:
    """A text without any character of :data:`UNPRINTABLE`."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def indent(text: str) -> str:
    """Lines that cannot be taken for records."""
    lines = shortened(text, LONGEST_TRACEBACK).split("\n")
    return "\n".join(f"    {escape(line)}" for line in lines)
