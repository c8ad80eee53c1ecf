"""Projects that move, change their mind about being temporary, commit, or come from long ago."""

import errno
from pathlib import Path

import pytest
from api_calls import ID, PROJECT
from faults import failing


def marked(path) -> bool:
    return (Path(path) / ".gns3_temporary").exists()


def there(path) -> bool:
    return Path(path).exists()


@pytest.mark.statement("PRJ-07", "PRJ-19")
async def test_a_project_becomes_permanent_and_temporary_again(client):
    made = (await client.post("/v1/projects", {"temporary": True})).json
    project = f"/v1/projects/{made['project_id']}"
    for temporary in (False, True):
        answer = await client.put(project, {"temporary": temporary})
        assert (answer.status, answer.json["temporary"]) == (200, temporary)
        assert marked(made["path"]) is temporary
    assert (await client.put(project, {"temporary": None})).status == 400


@pytest.mark.statement("PRJ-08", "PRJ-09", "PRJ-20")
@pytest.mark.parametrize("temporary", [True, False])
async def test_a_project_moves_with_all_that_it_has(client, server, build, tmp_path, temporary):
    nodes = await build(client, ID, temporary=temporary)
    project, new = f"/v1/projects/{ID}", tmp_path / "new"
    old = Path((await client.get(project)).json["path"])
    (old / "project-files" / "notes.txt").write_text("mine")
    running = server.processes()
    answer = await client.put(project, {"path": str(new), "name": "moved"})
    assert answer.status == 200
    assert (answer.json["path"], answer.json["name"]) == (str(new), "moved")
    assert there(old) is not temporary
    assert marked(new) is temporary
    assert (new / "project-files" / "notes.txt").read_text() == "mine"
    assert server.processes() == running
    node = f"{project}/toy/vms/{nodes[0]['vm_id']}"
    shown = (await client.get(node)).json
    assert shown["status"] == "started"
    assert shown["vm_directory"].startswith(str(new))
    assert (await client.put(node, {"name": "also moved"})).status == 200
    if not temporary:
        assert (await client.post(f"{project}/close")).status == 204
        opened = (await client.post("/v1/projects", {"project_id": ID})).json
        assert (opened["path"], opened["name"]) == (str(new), "moved")
        assert (await client.get(node)).json["name"] == "also moved"


@pytest.mark.statement("PRJ-10", "PRJ-22")
async def test_only_a_local_server_moves_projects_and_changes_nothing_else(gns3_serving, tmp_path):
    async with gns3_serving(plugins=[], local=False) as server:
        made = (await server.client.post("/v1/projects", {"name": "here"})).json
        project = f"/v1/projects/{made['project_id']}"
        body = {"path": str(tmp_path / "new"), "name": "there"}
        assert (await server.client.put(project, body)).status == 403
        assert (await server.client.get(project)).json == made
        assert (await server.client.put(project, {"path": made["path"]})).status == 200


async def test_a_move_to_where_another_project_is_changes_nothing(client, tmp_path):
    bodies = [{"name": "one"}, {"path": str(tmp_path / "two")}]
    made = [(await client.post("/v1/projects", body)).json for body in bodies]
    project = f"/v1/projects/{made[0]['project_id']}"
    for path in (tmp_path / "two", tmp_path / "two" / "in", tmp_path):
        answer = await client.put(project, {"path": str(path), "name": "x", "temporary": True})
        assert answer.status == 409
    assert (await client.get(project)).json == made[0]
    assert not marked(made[0]["path"])


@pytest.mark.statement("PRJ-11", "PRJ-26", "PRJ-37")
async def test_a_commit_removes_what_was_deleted(client, project, make_toy):
    toys = [await make_toy() for _ in range(3)]
    places = []
    for toy in toys:
        await client.post(f"{toy}/start")
        places.append(Path((await client.get(toy)).json["vm_directory"]))
        assert there(places[-1])
    for toy in toys[:2]:
        assert (await client.delete(toy)).status == 204
    again = {"name": "back", "vm_id": toys[1].rpartition("/")[2]}
    assert (await client.post(f"{project}/toy/vms", again)).status == 201
    assert all(there(place) for place in places)
    assert (await client.post(f"{project}/commit")).status == 204
    assert [there(place) for place in places] == [False, True, True]
    assert (await client.post(f"{PROJECT}/commit")).status == 404


@pytest.mark.statement("PRJ-25", "PRJ-26")
async def test_what_is_deleted_waits_for_the_commit(client, project, make_toy, lab):
    kept, gone = [(await make_toy()).rpartition("/")[2] for _ in range(2)]
    nodes = lab.projects.get(project.rpartition("/")[2]).members
    assert (await client.delete(f"{project}/toy/vms/{gone}")).status == 204
    assert [node.id for node in nodes] == [kept]
    assert nodes.removed == [("toy", gone)]
    assert (await client.post(f"{project}/commit")).status == 204
    assert nodes.removed == []


@pytest.mark.statement("PRJ-27")
async def test_a_commit_that_fails_can_be_repeated(client, project, make_toy):
    toy = await make_toy()
    await client.post(f"{toy}/start")
    place = Path((await client.get(toy)).json["vm_directory"])
    await client.delete(toy)
    with failing("rmdir", place, errno.EPERM):
        assert (await client.post(f"{project}/commit")).status == 500
    assert there(place)
    assert (await client.post(f"{project}/commit")).status == 204
    assert not there(place)
