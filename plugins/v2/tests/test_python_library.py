"""The Python library that most scripts use does what its documentation shows."""

from __future__ import annotations

import asyncio
import venv
from pathlib import Path

import pytest

STEPS = Path(__file__).with_name("helpers") / "library_steps.py"


async def run(*command):
    """Run a command; returns what it says."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("version", [pytest.param("0.7.2", marks=pytest.mark.long), "0.8.0"])
async def test_all_that_its_documentation_shows_works(gns3_server, tmp_path, version):
    place = tmp_path / "environment"
    await asyncio.to_thread(venv.create, place, with_pip=True)
    python = str(place / "bin" / "python")
    # It does not say that it needs an old pydantic.
    await run(python, "-m", "pip", "install", "-q", f"gns3fy=={version}", "pydantic<2")
    said = await run(python, str(STEPS), gns3_server.url)
    steps = int(said.split()[-2])
    assert steps >= 60, said
