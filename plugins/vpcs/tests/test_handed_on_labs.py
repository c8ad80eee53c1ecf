"""A lab that somebody else hands on does not reach beyond its directory."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from vpcs_kernel import alive, environment, start_time
from vpcs_lab import PORT, Pc

from gns3server.testing import TEST_VARIABLE, processes_of

PLACES = ["project-files/vpcs/{id}", "project-files/vpcs", "project-files"]
"""What of the way to a PC's directory may be a link."""


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A directory of the user's with files that the server has no business with."""
    path: Path = tmp_path / "elsewhere"
    path.mkdir()
    (path / "thesis").write_text("years of work")
    return path


def untouched(elsewhere: Path) -> bool:
    """Whether nothing was written, replaced or removed there."""
    return {str(path.relative_to(elsewhere)) for path in elsewhere.rglob("*")} == {"thesis"}


def divert(pc: Pc, place: str, elsewhere: Path) -> None:
    """Put a link that leads out of the project in a place on the way to a PC's directory."""
    link = pc.node.project.path / place.format(id=pc.id)
    if link.exists():
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)


@pytest.mark.parametrize("place", PLACES)
async def test_a_script_is_not_written_through_a_link(lab, elsewhere, place):
    pc = await lab.pc(startup_script="echo 1")
    divert(pc, place, elsewhere)
    answer = await lab.client.put(pc.path, {"startup_script": "echo 2"})
    assert answer.status == 507
    assert "Not a directory" in answer.json["message"]
    assert str(pc.node.project.path) in answer.json["message"]
    assert untouched(elsewhere)


@pytest.mark.parametrize("place", PLACES)
async def test_a_pc_is_not_started_behind_a_link(lab, elsewhere, place, vpcs_program):
    pc = await lab.wired()
    divert(pc, place, elsewhere)
    answer = await pc.ask("start")
    assert answer.status == 409
    assert "it cannot run in its directory" in answer.json["message"]
    assert await pc.status() == "stopped"
    assert untouched(elsewhere)


@pytest.mark.parametrize("place", PLACES)
async def test_a_commit_removes_nothing_behind_a_link(lab, elsewhere, place):
    pc = await lab.pc(startup_script="echo 1")
    (elsewhere / "thesis").rename(elsewhere / "kept")
    for inner in ("", "vpcs", f"vpcs/{pc.id}"):
        (elsewhere / inner).mkdir(parents=True, exist_ok=True)
        (elsewhere / inner / "thesis").write_text("years of work")
    before = sorted(elsewhere.rglob("*"))
    divert(pc, place, elsewhere)
    assert (await lab.client.delete(pc.path)).status == 204
    assert (await lab.client.post(f"{lab.project}/commit")).status == 204
    assert sorted(elsewhere.rglob("*")) == before


async def test_a_file_that_was_staged_is_not_put_in_place_through_a_link(
    gns3_serving, tmp_path, elsewhere
):
    lab_path = tmp_path / "lab"
    async with gns3_serving() as server:
        created = await server.client.post("/v1/projects", {"path": str(lab_path)})
        project = f"/v1/projects/{created.json['project_id']}"
        pc = (await server.client.post(f"{project}/vpcs/vms", {"name": "PC"})).json["vm_id"]
    with closing(sqlite3.connect(lab_path / "project.db")) as records, records:
        records.execute("INSERT INTO staged_file VALUES (?, 'startup.vpc', 'evil')", (pc,))
        records.execute("UPDATE staged_file SET content = CAST(content AS BLOB)")
    shutil.rmtree(lab_path / "project-files", ignore_errors=True)
    (lab_path / "project-files" / "vpcs").mkdir(parents=True)
    (lab_path / "project-files" / "vpcs" / pc).symlink_to(elsewhere)
    async with gns3_serving() as server:
        (damage,) = (await server.client.get("/v1/projects/damaged")).json
        assert "Not a directory" in damage["reason"]
    assert untouched(elsewhere)


async def start_pc(client, project: str) -> str:
    """Make, wire and start a PC; returns its path."""
    vm = (await client.post(f"{project}/vpcs/vms", {"name": "PC"})).json["vm_id"]
    lport = (await client.post(f"{project}/ports/udp")).json["udp_port"]
    nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": 9}
    path = f"{project}/vpcs/vms/{vm}"
    await client.post(f"{path}/{PORT}", nio)
    answer = await client.post(f"{path}/start")
    assert answer.status == 204, answer
    return path


async def new_project(client, **values: str) -> str:
    """Make a project; returns its path."""
    answer = await client.post("/v1/projects", values)
    return f"/v1/projects/{answer.json['project_id']}"


async def test_the_copy_of_a_running_lab_leaves_the_first_one_alone(
    gns3_process, gns3_serving, gns3_settings, tmp_path, vpcs_program
):
    """Both have the same records: ids, runs and processes."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    async with gns3_process("--keep-nodes") as server:
        project = await new_project(server.client, path=str(first))
        pc = await start_pc(server.client, project)
    pids = processes_of(gns3_settings.environ[TEST_VARIABLE])
    assert len(pids) == 1
    shutil.copytree(first, copy)
    async with gns3_serving(state_path=str(tmp_path / "other-state")) as other:
        wanted = {"project_id": project.rpartition("/")[2], "path": str(copy)}
        assert (await other.client.post("/v1/projects", wanted)).status == 201
        assert (await other.client.get(pc)).json["status"] == "stopped"
        assert (await other.client.delete(pc)).status == 204
    assert all(map(alive, pids))
    async with gns3_process() as server:
        assert (await server.client.get(pc)).json["status"] == "started"


@pytest.fixture
def stranger():
    """A process that no server has started."""
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield process
        process.kill()


async def test_a_record_of_a_run_names_no_process_of_others(
    gns3_process, tmp_path, stranger, vpcs_program
):
    """A stored run of the right shape, with a process that belongs to something else."""
    lab = tmp_path / "lab"
    async with gns3_process("--keep-nodes") as server:
        project = await new_project(server.client, path=str(lab))
        pc = await start_pc(server.client, project)
    with closing(sqlite3.connect(lab / "project.db")) as records, records:
        ((text,),) = records.execute("SELECT processes FROM run")
        identities = json.loads(text)
        for identity in identities:
            identity.update(pid=stranger.pid, start_time=start_time(stranger.pid))
        records.execute("UPDATE run SET processes = ?", (json.dumps(identities),))
    async with gns3_process() as server:
        assert (await server.client.get(pc)).json["status"] == "stopped"
    assert stranger.poll() is None


async def test_a_pc_that_runs_goes_on_with_a_project_that_was_moved(
    gns3_process, tmp_path, vpcs_program
):
    async with gns3_process("--keep-nodes") as server:
        project = await new_project(server.client, path=str(tmp_path / "here"))
        pc = await start_pc(server.client, project)
        moved = await server.client.put(project, {"path": str(tmp_path / "there")})
        assert moved.status == 200
    for arguments in (["--keep-nodes"], []):
        async with gns3_process(*arguments) as server:
            assert (await server.client.get(pc)).json["status"] == "started"


async def test_a_pc_gets_the_environment_that_it_needs_and_no_more(
    gns3_process, gns3_settings, vpcs_program
):
    given = {"CLOUD_PASSWORD": "secret", "LC_MESSAGES": "C", "SPECIAL": "yes"}
    wanted = f"{TEST_VARIABLE}, SPECIAL"
    async with gns3_process(environ=given, environment=wanted) as server:
        await start_pc(server.client, await new_project(server.client))
        pids = processes_of(gns3_settings.environ[TEST_VARIABLE]).keys() - {server.pid}
        assert len(pids) == 1
        for pid in pids:
            found = environment(pid)
            assert (found["LC_MESSAGES"], found["SPECIAL"]) == ("C", "yes")
            assert {"PATH", "HOME"} <= found.keys()
            assert "CLOUD_PASSWORD" not in found
            assert not any(name.startswith("GNS3_SERVER_") for name in found)
