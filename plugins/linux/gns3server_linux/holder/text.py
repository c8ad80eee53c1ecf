"""Text files by path. Python's pathlib, which has this as well, would take 1 MB of each node."""

from __future__ import annotations


def read(path: str) -> str:
    """The text of a file. Bytes that are none survive a :func:`write`.

    :raises OSError: it cannot be read.
    """
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def write(path: str, content: str) -> None:
    """Have a file with a text, or give the kernel a value.

    :raises OSError: it cannot be written.
    """
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)
