"""The tutorial, from an empty folder on, just as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clean_environment import CleanEnvironment

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = DOCS / "tutorial.rst"
EXAMPLE = DOCS / "examples" / "gns3server-host"

STEP = re.compile(
    r"^\.\. (?:code-block:: sh\n\n(?P<commands>(?:   .*\n|\n)+)|literalinclude:: (?P<file>\S+))",
    re.MULTILINE,
)
"""What a reader does: commands to type, and files to write."""


def steps() -> list[str]:
    """The tutorial as one script: files are written where the reader is by then."""
    script = ["set -x"]
    for found in STEP.finditer(TUTORIAL.read_text()):
        if found["commands"]:
            script += [line.removeprefix("   ") for line in found["commands"].splitlines()]
            continue
        path = DOCS / found["file"]
        name = path.relative_to(EXAMPLE)
        script.append(f"mkdir -p {name.parent} && cp {path} {name}")
    return script


def test_the_tutorial_shows_every_file_of_its_plugin() -> None:
    shown = {found["file"] for found in STEP.finditer(TUTORIAL.read_text()) if found["file"]}
    written = {str(path.relative_to(DOCS)) for path in EXAMPLE.rglob("*.py")}
    assert shown == {*written, "examples/gns3server-host/pyproject.toml"}


def test_its_plugin_has_less_than_sixty_lines() -> None:
    lines = len((EXAMPLE / "gns3server_host.py").read_text().splitlines())
    assert lines < 60
    assert f"answer pings: {lines} lines" in TUTORIAL.read_text()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_of_it_works_as_it_is_printed(
    clean_environment: CleanEnvironment, tmp_path: Path
) -> None:
    said = clean_environment.run("\n".join(steps()), tmp_path)
    assert "host 0.1.0 (gns3server-host): ok" in said, said
    reports = re.findall(r"^Test(\w+): (.*)$", said, re.MULTILINE)
    assert [suite for suite, _ in reports] == ["Host", "Plugin", "Node", "Plugin"], said
    assert not [report for report in reports if "NOT MET" in report[1]]
