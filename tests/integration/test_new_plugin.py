"""``gns3server new-plugin``: what it writes is a plugin that works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clean_environment import CleanEnvironment

from gns3server.__main__ import main
from gns3server.cli.new_plugin import NATURES, distribution

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(clean_environment: CleanEnvironment, tmp_path_factory) -> Path:
    """A folder in whose environment ``env`` the server and its testing extra are installed."""
    folder: Path = tmp_path_factory.mktemp("plugins")
    clean_environment.run(
        """
        python3 -m venv env
        . env/bin/activate
        pip install --quiet "$GNS3SERVER[testing]" "$GNS3SERVER/plugins/udp"
        """,
        folder,
    )
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "nature",
    [
        pytest.param(nature, marks=pytest.mark.heavy if nature == "process" else pytest.mark.long)
        for nature in NATURES
    ],
)
def test_a_new_plugin_is_installed_and_meets_all_requirements_at_once(
    clean_environment: CleanEnvironment, installed: Path, nature: str
) -> None:
    name = f"my-{nature}"
    said = clean_environment.run(
        f"""
        . env/bin/activate
        gns3server new-plugin {name} --nature {nature}
        pip install --quiet -e ./gns3server-{name}
        gns3server plugins
        cd gns3server-{name}
        python3 -m pytest
        """,
        installed,
    )
    assert f"{name} 0.1.0 (gns3server-{name}): ok" in said, said
    reports = re.findall(r"^Test(\w+): (.*)$", said, re.MULTILINE)
    assert [suite for suite, _ in reports] == ["Node", "Plugin"], said
    assert not [report for report in reports if "NOT MET" in report[1]], said


@pytest.mark.parametrize("nature", NATURES)
@pytest.mark.parametrize("name", ["router", "a-very-long-name_for_a-plugin-2"])
def test_a_new_plugin_passes_lint(tmp_path: Path, nature: str, name: str) -> None:
    for path, text in distribution(name, nature).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    assert ruff, "this test needs ruff: see tox.ini"
    # By its own rules, and by those of the server.
    for rules in (), ("--config", str(ROOT / "pyproject.toml")):
        for command in (("check",), ("format", "--check")):
            argv = [ruff, *command, "--no-cache", *rules, str(tmp_path)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new-plugin"], "new-plugin needs a name: gns3server new-plugin NAME"),
        (["new-plugin", "My"], "the name 'My' cannot be part of a path: let it begin with"),
        (["new-plugin", "x" * 41], "is too long: let it have 40 characters"),
        (["new-plugin", "../x"], "cannot be part of a path"),
        (["new-plugin", "x", "--nature", "wild"], "there is no nature 'wild': there are process,"),
        (["new-plugin", "--nature=wild", "x"], "there is no nature 'wild'"),
        (["plugins", "x"], "'x' goes with demo or new-plugin"),
        (["--nature", "service"], "--nature goes with new-plugin"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch, capsys, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []


def test_nothing_that_is_there_is_written_over(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "x"]) == 0
    module = tmp_path / "gns3server-x" / "gns3server_x.py"
    module.write_text("mine")
    assert main(["new-plugin", "x"]) == 2
    assert "gns3server-x exists already: choose another name" in capsys.readouterr().err
    assert module.read_text() == "mine"
