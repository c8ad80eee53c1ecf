"""The mark of temporary projects: nothing is ever taken for one that is none (SRV-04)."""

import errno
import os
from pathlib import Path

import pytest

from gns3server.places import paths
from gns3server.projects.manager import ProjectManager

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
PROJECT = f"/v1/projects/{ID}"


@pytest.fixture
def serve(gns3_serving):
    """Makes servers one after the other on the same directories."""
    return lambda **options: gns3_serving(plugins=[], **options)


@pytest.fixture
def crash(monkeypatch):
    """Has servers end as if they had been killed."""

    async def let_go(manager: ProjectManager, *, open_again: bool) -> None:
        for project in manager.projects:
            await manager._let_go(project)

    monkeypatch.setattr(ProjectManager, "shutdown", let_go)


def mark(path: Path) -> Path:
    """Mark a directory as a temporary project's."""
    (path / ".gns3_temporary").write_text("1")
    return path / ".gns3_temporary"


@pytest.mark.statement("SRV-04")
async def test_a_start_removes_what_temporary_projects_have_left(serve, gns3_settings):
    projects = gns3_settings.projects_path
    for name in ("temporary", "permanent"):
        (projects / name / "project-files" / "toy").mkdir(parents=True)
    mark(projects / "temporary")
    async with serve():
        assert [path.name for path in projects.iterdir()] == ["permanent"]
        assert (projects / "permanent" / "project-files" / "toy").is_dir()


@pytest.mark.usefixtures("crash")
async def test_a_temporary_project_that_was_open_comes_back_after_a_crash(serve, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    where = {"projects_path": str(tmp_path / "link" / "projects")}
    async with serve(**where) as server:
        body = {"project_id": ID, "temporary": True, "name": "lab"}
        made = (await server.client.post("/v1/projects", body)).json
        (Path(made["path"]) / "project-files").mkdir()
    async with serve(**where) as server:
        assert (await server.client.get(PROJECT)).json == made
        assert (Path(made["path"]) / "project-files").is_dir()


@pytest.mark.parametrize("when", ["open", "closed"])
async def test_a_permanent_project_with_a_stray_mark_is_not_removed(serve, when):
    async with serve() as server:
        client = server.client
        made = (await client.post("/v1/projects", {"project_id": ID, "name": "lab"})).json
        if when == "closed":
            await client.post(f"{PROJECT}/close")
        stray = mark(Path(made["path"]))
    for _ in range(2):
        async with serve() as server:
            client = server.client
            opened = (await client.post("/v1/projects", {"project_id": ID})).json
            assert (opened["name"], opened["temporary"]) == ("lab", False)
            assert not stray.exists()
            if when == "closed":
                await client.post(f"{PROJECT}/close")


async def test_a_project_that_becomes_permanent_where_a_temporary_one_was_stays(serve, tmp_path):
    left = tmp_path / "projects" / "left"
    async with serve() as server:
        left.mkdir(parents=True)
        mark(left)
        body = {"project_id": ID, "path": str(left)}
        assert (await server.client.post("/v1/projects", body)).json["temporary"] is False
        assert not (left / ".gns3_temporary").exists()


def full_disk(*_arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("temporary", [True, False])
async def test_a_mark_that_cannot_be_changed_changes_nothing(client, monkeypatch, temporary):
    body = {"project_id": ID, "name": "lab", "temporary": not temporary}
    made = (await client.post("/v1/projects", body)).json
    with monkeypatch.context() as patch:
        patch.setattr(paths, "sync_directory", full_disk)
        answer = await client.put(PROJECT, {"temporary": temporary, "name": "new"})
    assert answer.status == 500
    assert made["path"] in answer.json["message"]
    assert (await client.get(PROJECT)).json == made
    if temporary:
        assert not (Path(made["path"]) / ".gns3_temporary").exists()


async def test_a_projects_directory_that_cannot_be_read_keeps_no_server_from_starting(
    serve, monkeypatch, caplog
):
    async with serve() as server:
        await server.client.post("/v1/projects", {"project_id": ID})
    iterdir = Path.iterdir

    def refuse(path: Path):
        if path.name == "projects":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    async with serve() as server:
        assert (await server.client.get(PROJECT)).status == 200
    assert "stay: " in caplog.text
