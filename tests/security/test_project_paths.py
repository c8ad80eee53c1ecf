"""No path of a project leads it to files that are not its own, or out of the answer."""

from __future__ import annotations

import os

import pytest
from api_calls import ID

REFUSED = [
    "",
    ".",
    "lab",
    "../lab",
    "~/lab",
    "file:///{tmp}/lab",
    "%2Ftmp%2Flab",
    "/",
    "//",
    "/..",
    "/etc/..",
    "{tmp}",
    "{tmp}/",
    "{tmp}/x/..",
    "{tmp}/projects",
    "{tmp}/projects/../projects/.",
    "{tmp}/state",
    "{tmp}/images",
    "{tmp}/root-link",
    "{tmp}/home-link",
    "{tmp}/state-link",
    "{tmp}/loop",
    "{tmp}/taken",
    "{tmp}/taken/inside",
    "{tmp}/taken-link/inside",
    "{tmp}/x/../taken",
    "{tmp}/file",
    "{tmp}/file/lab",
    "{tmp}/a\0b",
    "{tmp}/" + "x" * 256,
    "/" + "x" * 5000,
    "{tmp}" + "/x" * 3000,
]

AS_THEY_ARE = ["%2e%2e", "..%2f..%2fetc", "...", "..\\..\\etc", "line\r\nX-Evil: 1", "\u202elab"]
"""Names that mean something elsewhere, and here no more than any other."""


@pytest.fixture
async def places(client, tmp_path):
    """A project that has a directory, and links to what no project may have."""
    body = {"name": "taken", "path": str(tmp_path / "taken")}
    assert (await client.post("/v1/projects", body)).status == 201
    (tmp_path / "file").write_bytes(b"a file")
    links = {"root": "/", "home": tmp_path, "state": tmp_path / "state", "taken": "taken"}
    for name, target in links.items():
        (tmp_path / f"{name}-link").symlink_to(target)
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def snapshot(directory):
    """All paths below a directory, those of the server's own records left out."""
    return {
        os.path.join(parent, name)
        for parent, directories, files in os.walk(directory)
        for name in (*directories, *files)
        if "/state/" not in f"{parent}/"
    }


@pytest.mark.heavy
@pytest.mark.statement("PRJ-05")
@pytest.mark.parametrize("path", REFUSED, ids=lambda path: ascii(path)[:30])
async def test_paths_that_no_project_may_have_change_nothing(client, places, path):
    path = path.format(tmp=places)
    kept = (await client.post("/v1/projects", {"name": "kept", "project_id": ID})).json
    before = snapshot(places)
    for method, target in (("POST", "/v1/projects"), ("PUT", f"/v1/projects/{ID}")):
        answer = await client.request(method, target, {"name": "x", "path": path})
        assert answer.status in (400, 409, 500), (method, answer)
        assert answer.status != 500 or "cannot be made or used" in answer.json["message"]
        assert len(answer.json["message"]) < 20_000
        assert set(answer.json) >= {"message", "status"}
    assert snapshot(places) == before
    assert (await client.get(f"/v1/projects/{ID}")).json == kept


@pytest.mark.parametrize("name", AS_THEY_ARE, ids=ascii)
async def test_a_path_is_taken_as_it_is(client, places, name):
    before = snapshot(places)
    answer = await client.post("/v1/projects", {"name": "x", "path": f"{places}/{name}"})
    assert (answer.status, answer.json["path"]) == (201, f"{places}/{name}")
    assert all(path.startswith(f"{places}/{name}") for path in snapshot(places) - before)


@pytest.mark.parametrize("project_id", ["../escaped", "/tmp/escaped", "..", "a\0b", "x" * 5000])
async def test_an_id_is_no_path(client, places, project_id):
    before = snapshot(places)
    answer = await client.post("/v1/projects", {"name": "x", "project_id": project_id})
    assert answer.status == 400
    assert snapshot(places) == before


async def test_only_a_local_server_lets_a_path_be_chosen(gns3_serving, tmp_path):
    async with gns3_serving(plugins=[], local=False) as server:
        made = await server.client.post("/v1/projects", {"name": "x"})
        for method, path in (
            ("POST", "/v1/projects"),
            ("PUT", f"/v1/projects/{made.json['project_id']}"),
        ):
            for place in (str(tmp_path / "lab"), "/etc", "../lab"):
                answer = await server.client.request(method, path, {"name": "x", "path": place})
                assert answer.status == 403
    assert not (tmp_path / "lab").exists()


async def test_a_project_whose_directory_became_a_link_serves_nothing_of_its_target(
    client, project, tmp_path, raw
):
    path = (await client.get(project)).json["path"]
    os.rename(path, f"{path}-moved")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").write_bytes(b"the secret content")
    os.symlink(tmp_path / "elsewhere", path)
    answer = await client.delete(project)
    assert answer.status in (204, 409, 500)
    assert (tmp_path / "elsewhere" / "secret").read_bytes() == b"the secret content"
