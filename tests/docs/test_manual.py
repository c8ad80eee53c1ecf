"""The manual and the code say the same."""

from __future__ import annotations

import configparser
import dataclasses
import inspect
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from gns3server import errors, hookspecs, plugin, testing
from gns3server.cli.arguments import make_parser
from gns3server.nodes.states import NodeState
from gns3server.settings.server import SERVER_SETTINGS, ServerSettings
from gns3server.settings.sources import config_files

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TABLES = runpy.run_path(str(DOCS / "tables.py"))["TABLES"]


def page(name: str) -> str:
    """The source of a page, with the tables of this name put in."""
    text = (DOCS / f"{name}.rst").read_text(encoding="utf-8")
    return re.sub(
        r"^\.\. lab-table:: (\w+)$", lambda found: TABLES[found[1]](), text, flags=re.MULTILINE
    )


def rows(table: str) -> dict[str, list[str]]:
    """A table's rows by their first cell, markup left out."""
    found = {}
    for row in TABLES[table]().split("   * - ")[2:]:
        first, *rest = [cell.strip() for cell in re.split(r"\n     -", row)]
        found[first.replace("``", "")] = rest
    return found


def test_every_hook_is_documented() -> None:
    specified = {
        name for name, thing in vars(hookspecs).items() if hasattr(thing, "gns3server_spec")
    }
    assert len(specified) >= 9
    documented = set(re.findall(r":func:`~gns3server\.hookspecs\.(gns3_\w+)`", page("hooks")))
    assert documented == specified
    assert ".. automodule:: gns3server.hookspecs\n   :members:" in page("hooks")


def test_the_manual_says_which_hooks_are_awaited() -> None:
    for name, (meaning, awaited) in rows("hooks").items():
        hook = getattr(hookspecs, re.findall(r"gns3_\w+", name)[0])
        assert (awaited == "yes") == inspect.iscoroutinefunction(hook)
        assert meaning
        if awaited == "yes":
            assert "Awaited" in str(hook.__doc__)


def test_every_argument_of_a_hook_is_documented() -> None:
    for name in rows("hooks"):
        hook = getattr(hookspecs, re.findall(r"gns3_\w+", name)[0])
        for parameter in inspect.signature(hook).parameters:
            assert f":param {parameter}:" in hook.__doc__


def test_every_setting_is_documented() -> None:
    settings = dataclasses.fields(ServerSettings)
    assert list(rows("settings")) == [setting.name for setting in settings]
    for name, (_, meaning, counts, options) in rows("settings").items():
        declared = {setting.name: setting for setting in SERVER_SETTINGS}[name]
        assert meaning
        assert counts == ("at the next start" if declared.fixed else "at once")
        assert options == ", ".join(f"``{flag}``" for flag in declared.flags)
    assert "``GNS3_SERVER_PORT``" in page("install")


def test_every_option_is_documented() -> None:
    documented = set(re.findall(r"(?<!\w)--?[a-z-]+|-L", " ".join(rows("flags")), re.IGNORECASE))
    offered = re.findall(r"^ +(-.*?)(?:  |$)", make_parser().format_help(), re.MULTILINE)
    assert documented == {name for names in offered for name in re.findall(r"--?[\w-]+", names)}
    assert "``--host HOST``" in page("install")


def test_the_files_of_settings_are_listed_in_the_order_in_which_they_are_read() -> None:
    listed = re.findall(r"^#\. ``([^`]*\.conf)``", page("install"), re.MULTILINE)
    assert listed == [str(path) for path in config_files({"HOME": "~"})]


def test_every_state_is_documented_and_explained() -> None:
    assert set(rows("states")) == {state.value for state in NodeState}
    for state in NodeState:
        assert f"\n{state.value}\n   " in page("nodes")


def test_every_error_is_documented() -> None:
    classes = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.LabError)
    }
    documented = re.findall(r":exc:`~gns3server\.errors\.(\w+)`", page("errors"))
    assert sorted(documented) == sorted(classes)
    for status in {getattr(errors, name).status for name in classes}:
        assert re.search(rf"^\* .*\b{status}\b", page("errors"), re.MULTILINE), status


def test_everything_that_plugins_may_import_is_in_the_reference() -> None:
    reference = page("plugin-api")
    for name in plugin.__all__:
        named = re.search(rf"^\.\. (auto)?\w+:: {name}$", reference, re.MULTILINE)
        assert named or f"``{name}``" in reference, name
    directives = re.findall(r"^\.\. (?:auto)?\w+:: (\w+)$", reference, re.MULTILINE)
    assert set(directives) <= set(plugin.__all__)


def test_every_fixture_is_documented() -> None:
    fixtures = {name for name in vars(testing) if name.startswith("gns3_")}
    assert set(re.findall(r"autofunction:: (gns3_\w+)", page("testing"))) == fixtures
    documented = set(re.findall(r"^\.\. auto\w+:: (\w+)$", page("testing"), re.MULTILINE))
    hooks = {name for name in testing.__all__ if name.startswith("pytest_")}
    assert documented == set(testing.__all__) - hooks - {"ServerFactory", "SnapshotCheck"}


def required() -> set[str]:
    """Every requirement of every environment, as it is written there."""
    setup, tox = configparser.ConfigParser(), configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    tox.read(ROOT / "tox.ini")
    extras = dict(setup["options.extras_require"])
    # Ours: what the server comes with.
    del extras["plugins"]
    texts = [setup["options"]["install_requires"], *extras.values()]
    texts += [tox[section].get("deps", "") for section in tox.sections()]
    texts.append(tox["tox"]["requires"])
    texts += tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    lines = [line for text in texts for line in text.splitlines()]
    names = {line.rpartition(": ")[2].strip() for line in lines}
    return {name for name in names if name and not name.startswith("{[")}  # what is said elsewhere


def test_every_dependency_has_its_reason() -> None:
    documented = set(
        re.findall(r"^   \* - ``([^`]*[<>][^`]*)``$", page("dependencies"), re.MULTILINE)
    )
    bootstrap = runpy.run_path(str(ROOT / "bootstrap.py"))["TOX"]
    only_bootstrap = {name for name in bootstrap if not name.startswith("tox>")}
    assert documented == required() | only_bootstrap


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.rst")), ids=lambda path: path.stem)
def test_every_page_is_in_the_contents(path: Path) -> None:
    assert path.stem == "index" or f"\n   {path.stem}\n" in page("index")
