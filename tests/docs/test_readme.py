"""What the README says can be done.

The blocks that need VPCS are run by ``plugins/vpcs/tests/test_readme.py``, which also installs
the server by the README's command; ``test_bootstrap_commands.py`` beside it runs the two commands
of ``bootstrap.py``. Here is checked that ``bootstrap.py`` and ``.ci/run`` take them.
"""

from __future__ import annotations

import asyncio
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from urllib.request import urlopen

import pytest
from rst_blocks import blocks

from gns3server.__main__ import main

ROOT = Path(__file__).parents[2]
README = ROOT / "README.rst"


def of_language(language: str) -> list[str]:
    """The README's blocks of one language."""
    return [block.text for block in blocks(README) if block.language == language]


def test_every_block_is_of_a_kind_that_a_test_knows_what_to_do_with() -> None:
    kinds = [block.language for block in blocks(README)]
    assert len(kinds) == README.read_text().count("code-block::")
    assert set(kinds) == {"sh", "text", "python", "toml"}


@pytest.mark.parametrize("command", ["demo", "test"])
def test_bootstrap_takes_the_commands(command: str) -> None:
    assert f"python3 bootstrap.py {command}" in of_language("sh")
    read_arguments = runpy.run_path(str(ROOT / "bootstrap.py"))["read_arguments"]
    assert read_arguments([command]) == (command, [])


def test_ci_runs_the_documented_test_command() -> None:
    assert "python3 bootstrap.py test " in (ROOT / ".ci" / "run").read_text()


@pytest.fixture
def web_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EntryPoint]:
    """The README's plugin, found through the README's entry point."""
    (module,) = of_language("python")
    (toml,) = of_language("toml")
    ((group, points),) = tomllib.loads(toml)["project"]["entry-points"].items()
    ((name, target),) = points.items()
    (tmp_path / f"{target}.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    yield EntryPoint(name, target, group)
    # Other tests have a module of the same name.
    sys.modules.pop(target, None)


async def test_the_plugin_is_a_whole_emulator(gns3_serving, web_plugin):
    async with gns3_serving(plugins=[web_plugin]) as server:
        assert [plugin["status"] for plugin in server.running.server.plugins()] == ["ok"]
        project = (await server.client.post("/v1/projects", {"name": "test"})).json["project_id"]
        nodes = f"/v1/projects/{project}/web/vms"
        vm = (await server.client.post(nodes, {"name": "one"})).json
        assert (await server.client.post(f"{nodes}/{vm['vm_id']}/start")).status == 204
        page = await asyncio.to_thread(fetch, f"http://127.0.0.1:{vm['console']}/")
        assert b"Directory listing" in page


def fetch(url: str) -> bytes:
    """A page."""
    with urlopen(url) as response:
        page: bytes = response.read()
    return page


def test_the_plugins_command_of_the_server_runs(capsys) -> None:
    assert any("\ngns3server plugins" in block for block in of_language("sh"))
    assert main(shlex.split("gns3server plugins")[1:]) == 0


def test_files_that_it_points_to_exist() -> None:
    text = README.read_text()
    for name in ("docs/tutorial.rst", "plugins/vpcs", "CHANGES.rst", "LICENSE"):
        assert name in text
        assert (ROOT / name).exists()
