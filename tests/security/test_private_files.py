"""Records, scripts, locks and logs are for the server's user alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_calls import new_project, new_toy


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """A umask that lets everybody do everything."""
    old = os.umask(0)
    yield
    os.umask(old)


def open_to_others(*places: Path) -> set[str]:
    """What others may use: these places, and whatever is below them."""
    below = [entry for place in places if place.is_dir() for entry in place.rglob("*")]
    return {
        str(entry)
        for entry in (*places, *below)
        if not entry.is_symlink() and stat.S_IMODE(entry.lstat().st_mode) & 0o077
    }


SCRIPT = """
from gns3server.plugin import Change

async def prepare(self, values):
    text = values.get("note")
    others = {"mode": values["mode"]} if values.get("mode") else {}
    return Change(properties=others, files={"script": text.encode()} if text else {})

ToyNode.prepare = prepare
"""


@pytest.fixture
def with_scripts(faulty_plugin):
    """A plugin whose toys keep their notes in files."""
    return [faulty_plugin(SCRIPT, name="toy", source="toy_emulator.py")]


async def test_nobody_else_may_use_what_the_server_makes(gns3_serving, with_scripts):
    async with gns3_serving(plugins=with_scripts) as server:
        state, projects = server.settings.state_path, server.settings.projects_path
        project = await new_project(server.client)
        toy = await new_toy(server.client, project, note="a secret")
        assert (await server.client.post(f"{toy}/start")).status == 204
        files = {entry.name for entry in (*state.iterdir(), *projects.rglob("*"))}
        assert {"server.lock", "server.db", "server.db-wal", "project.db", "script"} <= files
        assert open_to_others(state, projects) == set()
        assert (await server.client.put(toy, {"note": "another"})).status == 200
        assert open_to_others(state, projects) == set()


async def test_what_others_may_use_is_mended(gns3_serving, with_scripts, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    (given / "letter").touch()
    async with gns3_serving(plugins=with_scripts) as server:
        state, projects = server.settings.state_path, server.settings.projects_path
        project = await new_project(server.client)
        await new_toy(server.client, project, note="a secret")
        toy = await new_toy(server.client, await new_project(server.client, path=str(given)))
        assert (await server.client.put(toy, {"note": "a secret"})).status == 200
    # As an earlier server has left it.
    for place in (state, *state.rglob("*"), *projects.rglob("*"), given, *given.rglob("*")):
        place.chmod(0o777 if place.is_dir() else 0o666)
    async with gns3_serving(plugins=with_scripts) as server:
        lab = projects / project.rpartition("/")[2]
        for place in (state, lab, given / "project-files"):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
        records = [state / "server.lock", *state.glob("*.db*"), *lab.glob("*.db*")]
        assert open_to_others(*records, *given.glob("*.db*")) == set()
        # What was there before is not the server's.
        assert open_to_others(given) & {str(given / "letter")}
        assert stat.S_IMODE(given.stat().st_mode) == 0o777


async def test_a_directory_that_holds_more_than_the_servers_records_stays_open(
    gns3_serving, tmp_path
):
    shared = tmp_path / "shared"
    (shared / "others").mkdir(parents=True)
    for _ in range(2):
        async with gns3_serving(state_path=str(shared)):
            pass
        assert open_to_others(shared) == {str(shared), str(shared / "others")}


async def test_what_is_behind_a_link_is_left_as_it_is(gns3_serving, with_scripts, tmp_path):
    given, outside = tmp_path / "given", tmp_path / "outside"
    for place in (given, outside):
        place.mkdir()
    (given / "project-files").symlink_to(outside)
    async with gns3_serving(plugins=with_scripts) as server:
        await new_project(server.client, path=str(given))
    assert stat.S_IMODE(outside.stat().st_mode) == 0o777


async def test_the_program_keeps_its_log_and_record_to_itself(run, tmp_path, until):
    log, record, pid = tmp_path / "log", tmp_path / "record", tmp_path / "pid"
    log.touch(0o666)
    record.touch(0o666)
    process = await run("--log", str(log), "--record", str(record), "--pid", str(pid))

    async def listens() -> bool:
        assert process.returncode is None
        return "listens on" in log.read_text()

    await until(listens)
    assert open_to_others(log, record, pid, tmp_path / "state") == set()
    process.terminate()
    await process.communicate()
