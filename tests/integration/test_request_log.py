"""The log: who asked for what and what came of it, one line a request, found by its id."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest

from gns3server.http import encoding

LINE = re.compile(
    r"(?P<id>[0-9a-f]{6}-\d+) (?P<client>\S+) (?P<user>\S+) (?P<method>[A-Z]+) (?P<path>\S+) "
    r"-> (?P<status>\d{3}) in \d+ ms(?:: (?P<reason>.+))?"
)


@pytest.fixture
def lines(caplog):
    """The lines of requests at a level that have been logged since it was called the last time."""
    caplog.set_level("DEBUG")

    def lines(level: str) -> list[dict[str, str | None]]:
        found = [LINE.fullmatch(r.getMessage()) for r in caplog.records if r.levelname == level]
        caplog.clear()
        return [line.groupdict() for line in found if line]

    return lines


async def test_a_change_is_one_line_with_all_about_it(client, lines):
    answer = await client.post("/v1/projects", {"name": "x"})
    assert lines("INFO") == [
        {
            "id": answer.headers["X-Request-Id"],
            "client": "127.0.0.1",
            "user": "-",
            "method": "POST",
            "path": "/v1/projects",
            "status": "201",
            "reason": None,
        }
    ]


async def test_reads_are_told_to_those_who_want_all(raw, project, client, lines):
    await client.get(project)
    assert [line["path"] for line in lines("DEBUG")] == [project]
    await raw.request("HEAD", project)
    assert [line["method"] for line in lines("DEBUG")] == ["HEAD"]
    await client.get(project)
    assert lines("INFO") == []


async def test_an_error_is_told_with_its_reason_and_found_by_its_id(raw, project, lines):
    for method, path, status, reason in (
        ("GET", "/v1/projects/nobody", 400, "'nobody' is not a project id"),
        ("DELETE", f"{project[:-4]}0000", 404, "is not open on this server"),
        ("GET", "/v1/nothing", 404, "Not Found"),
        ("PATCH", project, 405, "Method Not Allowed"),
        ("GET", "/v1/files/stream", 400, "location: Missing data"),
    ):
        answer = await raw.request(method, path)
        (line,) = lines("INFO")
        assert (answer.status, line["status"]) == (status, str(status))
        assert (line["method"], line["path"]) == (method, path)
        assert answer.headers["X-Request-Id"] == line["id"]
        assert reason in str(line["reason"])
        assert set(answer.json) >= {"message", "status"}


async def test_what_the_machine_refuses_is_told_as_an_error(client, lines, tmp_path):
    body = {"path": f"/proc/{tmp_path.name}"}
    assert (await client.post("/v1/projects", body)).status == 500
    ((status, reason),) = [(line["status"], str(line["reason"])) for line in lines("ERROR")]
    assert status == "500"
    assert "cannot be made" in reason


async def test_refused_callers_are_told_of_as_well(raw, lines):
    answer = await raw.request("GET", "/v1/version", host="evil.example")
    (line,) = lines("INFO")
    assert (answer.headers["X-Request-Id"], line["status"]) == (line["id"], "403")
    assert "evil.example" in str(line["reason"])


async def test_the_user_is_named_once_it_has_shown_who_it_is(raw, lab, lines):
    server = replace(lab.live_settings.current.server, auth=True, user="me", password="secret")
    lab.live_settings.current = replace(lab.live_settings.current, server=server)
    login = base64.b64encode(b"me:secret").decode()
    await raw.request("POST", "/v1/projects", f"Authorization: Basic {login}")
    assert [line["user"] for line in lines("INFO")] == ["me"]
    await raw.request("POST", "/v1/projects", "Authorization: Basic bWU6")
    ((user, status),) = [(line["user"], line["status"]) for line in lines("INFO")]
    assert (user, status) == ("-", "401")


async def test_every_answer_has_an_id_of_its_own(raw, client, project):
    paths = ("/", "/docs", "/upload", "/v1/openapi.json", project, f"{project}/files", "/nothing")
    answers = [await raw.request("GET", path) for path in paths]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    async with client.listen(f"{project}/notifications"):
        ids.append((await client.get(project)).headers["X-Request-Id"])
    numbers = [int(name.partition("-")[2]) for name in ids]
    # The stream has had one, too.
    assert numbers == [*range(numbers[0], numbers[0] + len(paths)), numbers[-1]]
    assert numbers[-1] == numbers[-2] + 2
    assert len({name.partition("-")[0] for name in ids}) == 1


async def test_those_who_want_all_see_what_was_asked_and_answered(client, caplog):
    caplog.set_level("DEBUG")
    answer = await client.post("/v1/projects", {"name": "a\nb"})
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert f'{answer.headers["X-Request-Id"]} asked {{"name":"a\\nb"}}' in said
    assert f"{answer.headers['X-Request-Id']} answered {{" in said
    assert answer.json["project_id"] in said
    await client.post("/v1/projects", {"name": "x" * 5000})
    assert max(len(record.getMessage()) for record in caplog.records) < 2100


async def test_an_answer_may_be_larger_than_a_request(client, project, caplog, monkeypatch):
    monkeypatch.setattr(encoding, "MOST_VALUES", 1)
    caplog.set_level("DEBUG")
    answer = await client.get(project)
    assert answer.status == 200
    assert f"{answer.headers['X-Request-Id']} answered {{" in caplog.text


async def test_a_client_that_has_gone_is_no_bug(raw, lines, tmp_path, until):
    file = tmp_path / "log"
    file.write_bytes(b"hello")
    body = b'{"location": "%s"}' % str(file).encode()
    reader, writer = await raw.connect()
    writer.write(
        b"GET /v1/files/stream HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await reader.readuntil(b"hello")
    writer.transport.abort()
    found: list[dict[str, str | None]] = []

    async def told() -> bool:
        found.extend(lines("INFO"))
        return bool(found)

    await until(told)
    ((status, reason),) = [(line["status"], str(line["reason"])) for line in found]
    assert (status, reason[:20]) == ("408", "The client went away")
