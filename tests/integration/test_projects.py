"""Projects through the API: create, list, show, rename, close, delete, open again."""

import asyncio
import uuid
from pathlib import Path

import pytest
from api_calls import ID

from gns3server.settings.server import ServerSettings

KEYS = {"location", "name", "path", "project_id", "temporary"}


def files(project: dict[str, str]) -> set[str]:
    """What is in a project's directory."""
    return {path.name for path in Path(project["path"]).glob("*")}


async def create(client, **values):
    answer = await client.post("/v1/projects", values)
    assert answer.status == 201, answer
    return answer.json


# Create and show -----------------------------------------------------------------------


@pytest.mark.statement("PRJ-02", "PRJ-15", "PRJ-16")
async def test_a_name_is_enough(client, server):
    made = await create(client, name="lab")
    assert set(made) == KEYS
    assert (made["name"], made["temporary"]) == ("lab", False)
    assert len(made["project_id"]) == 36
    assert made["location"] == str(server.settings.projects_path)
    assert made["path"] == f"{made['location']}/{made['project_id']}"
    assert files(made) == {"project.db", "project.db-wal"}


@pytest.mark.statement("PRJ-33")
async def test_the_usual_place_of_projects_is_made_with_the_first(gns3_serving, tmp_path):
    usual = ServerSettings().projects_path
    async with gns3_serving(plugins=[], projects_path=usual) as server:
        made = await create(server.client, name="lab")
        assert made["location"] == str(tmp_path / "GNS3" / "projects")
        assert files(made)


@pytest.mark.statement("PRJ-03", "PRJ-18")
async def test_a_temporary_project_is_marked(client):
    made = await create(client, name="lab", temporary=True)
    assert made["temporary"] is True
    assert (Path(made["path"]) / ".gns3_temporary").read_text() == "1"


@pytest.mark.statement("PRJ-01", "PRJ-04", "PRJ-17")
async def test_id_and_path_are_used_as_given(client, tmp_path):
    path = tmp_path / "some" / "where"
    made = await create(client, name="lab", project_id=ID, path=str(path))
    assert (made["project_id"], made["path"], made["name"]) == (ID, str(path), "lab")
    assert path.is_dir()


@pytest.mark.statement("PRJ-05", "PRJ-23")
async def test_a_project_is_shown_as_it_was_created(client):
    made = await create(client, name="lab", temporary=True)
    shown = (await client.get(f"/v1/projects/{made['project_id']}")).json
    assert shown == made
    assert set(shown) == KEYS
    assert shown["location"]


async def test_a_project_needs_no_name(client):
    for values in ({}, {"name": None}, {"name": None, "project_id": None, "path": None}):
        made = await create(client, **values)
        assert made["name"] is None
        assert (await client.get(f"/v1/projects/{made['project_id']}")).json == made


@pytest.mark.statement("PRJ-39")
async def test_what_does_not_fit_is_400_and_makes_nothing(client, server, subtests):
    for values in (
        {"temporary": None},
        {"temporary": 1},
        {"temporary": "true"},
        {"name": ""},
        {"name": 1},
        {"name": "a\0b"},
        {"path": ""},
        {"path": 1},
        {"path": "/tmp/a\0b"},
        {"project_id": "x"},
        {"project_id": ID.replace("-", "")},
        {"project_id": f"{{{ID}}}"},
        {"location": "/tmp"},
        {"nonsense": 1},
    ):
        with subtests.test(values=values):
            answer = await client.post("/v1/projects", values)
            assert (answer.status, answer.json["request"]) == (400, values)
    assert (await client.get("/v1/projects")).json == []
    assert not server.settings.projects_path.exists()


@pytest.mark.statement("PRJ-34", "PRJ-35")
async def test_an_id_that_is_open_answers_the_open_project_unchanged(client, tmp_path, lab):
    assert (await client.get(f"/v1/projects/{ID}")).status == 404
    made = await create(client, name="lab", project_id=ID)
    project = lab.projects.get(ID)
    again = await create(
        client, name="other", project_id=ID, path=str(tmp_path / "other"), temporary=True
    )
    assert again == made
    assert lab.projects.get(ID) is project
    assert not (tmp_path / "other").exists()
    assert (await client.get("/v1/projects")).json == [made]


async def test_one_id_requested_many_times_at_once_is_one_project(client):
    made = await asyncio.gather(*(create(client, name=f"{n}", project_id=ID) for n in range(10)))
    assert len({project["name"] for project in made}) == 1
    assert (await client.get("/v1/projects")).json == [made[0]]


async def test_projects_are_listed_in_the_order_they_were_opened(client):
    assert (await client.get("/v1/projects")).json == []
    made = [await create(client, name=name) for name in ("b", "a", "c")]
    assert (await client.get("/v1/projects")).json == made
    await client.delete(f"/v1/projects/{made[0]['project_id']}")
    assert (await client.get("/v1/projects")).json == made[1:]


async def test_there_is_a_limit_of_projects_however_they_come(gns3_serving):
    async with gns3_serving(plugins=[], max_projects=2) as server:
        client = server.client
        answers = await asyncio.gather(*(client.post("/v1/projects") for _ in range(8)))
        assert sorted(answer.status for answer in answers) == [201] * 2 + [409] * 6
        refused = next(answer for answer in answers if answer.status == 409)
        assert "max_projects" in refused.json["message"]
        projects = (await client.get("/v1/projects")).json
        assert {p.name for p in server.settings.projects_path.iterdir()} == {
            project["project_id"] for project in projects
        }
        await client.delete(f"/v1/projects/{projects[0]['project_id']}")
        assert (await client.post("/v1/projects")).status == 201


# Update ---------------------------------------------------------------------------------


async def test_the_name_can_be_changed_and_null_leaves_it(client, project):
    for body, name in [
        ({"name": "new"}, "new"),
        ({"name": None}, "new"),
        ({}, "new"),
        ({"name": "new"}, "new"),
        ({"name": "Zürich"}, "Zürich"),
    ]:
        answer = await client.put(project, body)
        assert (answer.status, answer.json["name"]) == (200, name)
        assert (await client.get(project)).json == answer.json


async def test_a_wrong_update_changes_nothing(client, project):
    before = (await client.get(project)).json
    for body in (
        {"name": ""},
        {"name": "x", "nonsense": 1},
        {"project_id": ID},
        {"name": 1},
        {"location": "/tmp"},
    ):
        answer = await client.put(project, body)
        assert (answer.status, answer.json["request"]) == (400, body)
    assert (await client.get(project)).json == before


# Close and delete -----------------------------------------------------------------------


@pytest.mark.statement("PRJ-06", "PRJ-12", "PRJ-13")
async def test_unknown_projects_are_404(client):
    for method, path in [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/close"),
        ("GET", "/notifications"),
        ("GET", "/toy/vms"),
        ("POST", "/ports/toy"),
    ]:
        answer = await client.request(method, f"/v1/projects/{uuid.uuid4()}{path}")
        assert answer.status == 404, (method, path)


@pytest.mark.statement("PRJ-13", "PRJ-36")
async def test_a_closed_project_keeps_its_files_and_opens_again(client, project):
    before = (await client.get(project)).json
    path = Path(before["path"])
    (path / "notes.txt").write_text("mine")
    assert (await client.post(f"{project}/close")).status == 204
    assert (await client.get(project)).status == 404
    assert (await client.post(f"{project}/close")).status == 404
    assert (await client.delete(project)).status == 404
    assert (path / "notes.txt").read_text() == "mine"
    assert await create(client, project_id=before["project_id"], path=before["path"]) == before


@pytest.mark.statement("PRJ-12", "PRJ-28")
async def test_a_deleted_project_is_gone_with_its_directory(client, project, make_toy, server):
    await make_toy()
    path = Path((await client.get(project)).json["path"])
    (path / "notes.txt").write_text("mine")
    assert (await client.delete(project)).status == 204
    assert (await client.get(project)).status == 404
    assert (await client.delete(project)).status == 404
    assert list(server.settings.projects_path.iterdir()) == []


async def test_a_deleted_project_does_not_come_back_with_its_id(client, project, make_toy):
    await make_toy()
    before = (await client.get(project)).json
    await client.delete(project)
    again = await create(client, project_id=before["project_id"])
    assert again["name"] is None
    assert (await client.get(f"{project}/toy/vms")).json == []


@pytest.mark.statement("PRJ-32")
async def test_a_closed_temporary_project_is_deleted(client, tmp_path):
    for values in ({}, {"path": str(tmp_path / "lab")}):
        made = await create(client, temporary=True, **values)
        url = f"/v1/projects/{made['project_id']}"
        assert (await client.post(f"{url}/close")).status == 204
        assert files(made) == set()
        assert (await client.get(url)).status == 404


@pytest.mark.statement("PRJ-31", "PORT-11")
@pytest.mark.parametrize("end", ["close", "delete"])
async def test_the_end_of_a_project_stops_its_nodes_and_frees_its_ports(
    client, server, project, make_toy, end
):
    toys = [await make_toy() for _ in range(3)]
    port = (await client.post(f"{project}/ports/toy")).json["udp_port"]
    nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port}
    assert (await client.post(f"{toys[0]}/adapters/0/ports/0/nio", nio)).status == 201
    await asyncio.gather(*(client.post(f"{toy}/start") for toy in toys[:2]))
    answer = await (client.delete(project) if end == "delete" else client.post(f"{project}/close"))
    assert answer.status == 204
    assert (await client.get(toys[0])).status == 404
    assert (len(server.ports.tcp), len(server.ports.udp)) == (0, 0)
    # Its ids are free as well: another project may use them.
    other = f"/v1/projects/{(await create(client))['project_id']}"
    body = {"name": "toy", "vm_id": toys[0].rpartition("/")[2]}
    assert (await client.post(f"{other}/toy/vms", body)).status == 201
    assert (await client.post(f"{other}/ports/toy")).json["udp_port"] == port


async def test_of_many_who_delete_one_succeeds(client, project):
    paths = [project] * 5
    answers = await asyncio.gather(
        *(client.delete(path) for path in paths), *(client.post(f"{p}/close") for p in paths)
    )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [204] + [404] * 9
