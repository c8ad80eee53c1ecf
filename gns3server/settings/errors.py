"""What is wrong with the settings, and what may have been meant."""

from __future__ import annotations

from collections.abc import Iterable


class SettingsError(Exception):
    """A setting cannot be used; the text names it, its source and its possible values."""


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that is most like an unknown one, if any is.

    :param likeness: how much of it must match, from 0 to 1.
    """
    # Imported when used: only mistakes need it.
    import difflib

    close = difflib.get_close_matches(name, list(known), 1, likeness)
    return close[0] if close else None
