"""Tables of the manual that are made from the code, so that they cannot drift from it.

Each function returns reStructuredText. Nothing here needs Sphinx: the tests use it as well.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Iterator

from gns3server import errors, hookspecs
from gns3server.cli.arguments import make_parser
from gns3server.nodes.states import MOVES, WIRE_STATUS
from gns3server.settings.server import SERVER_SETTINGS, Setting
from gns3server.testing import NodeTypeConformance, PluginConformance

Row = tuple[str, ...]


def list_table(head: Row, rows: Iterable[Row]) -> str:
    """A table whose first row is its head."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        for mark, cell in zip(("   * -", *("     -",) * len(row)), row, strict=False):
            lines.append(f"{mark} {cell}".rstrip())
    return "\n".join([*lines, ""])


def code(text: object) -> str:
    """Text as it would be typed; nothing for the empty text."""
    return f"``{text}``" if str(text) else ""


def first_sentence(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def shown(value: object) -> str:
    """A setting's default as one would write it into the file."""
    return code({True: "yes", False: "no"}[value] if isinstance(value, bool) else value)


def settings_table() -> str:
    """Every setting of the server's own section."""
    rows = (
        (
            code(setting.name),
            shown(setting.default),
            setting.help + bounds(setting),
            "at the next start" if setting.fixed else "at once",
            ", ".join(map(code, setting.flags)),
        )
        for setting in SERVER_SETTINGS
    )
    return list_table(("Setting", "Default", "Meaning", "A change counts", "Option"), rows)


def bounds(setting: Setting) -> str:
    """What a number may be, in brackets; nothing for what is none."""
    return f" ({code(setting.least)} to {setting.most})" if setting.kind == "int" else ""


def flags_table() -> str:
    """Every option of the command line."""
    return list_table(("Option", "Meaning"), _flags(make_parser()))


def _flags(parser: argparse.ArgumentParser) -> Iterator[Row]:
    for action in parser._actions:  # noqa: SLF001  argparse has no other list of them
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        names = ", ".join(code(name + value) for name in action.option_strings)
        yield names or code(action.dest), str(action.help)


def states_table() -> str:
    """Every state of a node, with its word on the wire and where it may go from there."""
    rows = (
        (
            code(state.value),
            code(WIRE_STATUS[state]),
            ", ".join(code(other.value) for other in MOVES if other in MOVES[state]),
        )
        for state in MOVES
    )
    return list_table(("State", "``status`` in answers and events", "May become"), rows)


def error_classes() -> list[type[errors.LabError]]:
    """All errors that a client may be told of, by status."""
    found = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, errors.LabError)
    ]
    return sorted(found, key=lambda kind: (kind.status, kind.__name__))


def errors_table() -> str:
    """Every error with its status."""
    rows = (
        (
            str(kind.status),
            f":exc:`~gns3server.errors.{kind.__name__}`",
            first_sentence(kind).removeprefix(f"{kind.status}: "),
        )
        for kind in error_classes()
    )
    return list_table(("Status", "Raised in the code as", "Meaning"), rows)


def hook_names() -> list[str]:
    """All hooks, in the order in which they are specified."""
    return [name for name in vars(hookspecs) if name.startswith("gns3_")]


def hooks_table() -> str:
    """Every hook: what for, and whether the server awaits it."""
    rows = (
        (
            f":func:`~gns3server.hookspecs.{name}`",
            first_sentence(hook).split(". ")[0].rstrip(".") + ".",
            "yes" if inspect.iscoroutinefunction(hook) else "no",
        )
        for name, hook in ((name, getattr(hookspecs, name)) for name in hook_names())
    )
    return list_table(("Hook", "What it is for", "``async def``"), rows)


def requirements_tables() -> str:
    """Every test of the conformance suites, in a table for each chapter."""
    chapters = (PluginConformance, *NodeTypeConformance.__bases__)
    return "\n".join(_chapter(chapter) for chapter in chapters)


def _chapter(chapter: type) -> str:
    tests = [test for name, test in vars(chapter).items() if name.startswith("test_")]
    rows = (
        (test.__name__.removeprefix("test_").replace("_", " "), first_sentence(test))
        for test in tests
    )
    title = first_sentence(chapter).split(". ")[0].rstrip(".")
    return f".. rubric:: {title}\n\n{list_table(('Name', 'What is required'), rows)}"


TABLES = {
    "settings": settings_table,
    "flags": flags_table,
    "states": states_table,
    "errors": errors_table,
    "hooks": hooks_table,
    "requirements": requirements_tables,
}
