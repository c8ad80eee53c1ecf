"""What gets into the log and the record: no secret, and nothing that a client makes up."""

from __future__ import annotations

import base64
import re
from functools import partial

import pytest

from gns3server.http.client import Client
from gns3server.settings.errors import SettingsError
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import load

PASSWORD = "the-secret-word"
WRONG = "another-secret"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) \S")


def credentials(password: str) -> str:
    return base64.b64encode(f"me:{password}".encode()).decode()


@pytest.fixture
def configured(tmp_path):
    """The user's configuration file, with a password in it."""
    path = tmp_path / "config" / "GNS3" / "gns3_server.conf"
    path.parent.mkdir(parents=True)
    path.write_text(f"[Server]\nauth = yes\nuser = me\npassword = {PASSWORD}\n")
    return path


async def test_no_secret_is_written_anywhere(running, raw_client, configured, tmp_path):
    log, record = tmp_path / "log", tmp_path / "record"
    arguments = ("--local", "--debug", "--record", str(record))
    async with running(*arguments) as (process, url, printed):
        raw = raw_client(int(url.rpartition(":")[2]))
        right, wrong = (f"Authorization: Basic {credentials(word)}" for word in (PASSWORD, WRONG))
        me = {"Authorization": f"Basic {credentials(PASSWORD)}"}
        async with Client(url) as client:
            answer = await client.request("POST", "/v1/projects", {"name": "x"}, headers=me)
            assert answer.status == 201
            # A file that cannot be read: what is wrong with it is logged, and told.
            configured.write_text(f"[Server]\nauth = yes\nuser = me\npassword {PASSWORD}\n")
            answer = await client.request("POST", "/v1/config/reload", headers=me)
            assert (answer.status, PASSWORD in answer.json["message"]) == (409, False)
        for headers in ((right,), (wrong,), (right, wrong), (right, "X: \0"), (right, "No colon")):
            for path in ("/v1/version", "/v1/nothing", "/v1/projects"):
                assert (await raw.request("GET", path, *headers)).status < 500
        for word in (PASSWORD, WRONG):
            target = f"http://me:{word}@localhost/v1/version"
            assert (await raw.request("GET", target, right)).status == 200
            host = f"me:{word}@localhost"
            assert (await raw.request("GET", "/v1/version", right, host=host)).status == 403
            broken = f"GET /v1/version HTTP/1.1\r\nAuthorization: Basic {credentials(word)}\x01"
            assert (await raw.send(f"{broken}\r\n\r\n".encode())).status == 400
        process.terminate()
        out, err = (text.decode() for text in await process.communicate())
    written = printed + out + err + record.read_text()
    assert "POST /v1/projects" in out
    assert "curl -X POST" in written
    assert not log.exists()
    for word in (PASSWORD, WRONG):
        for secret in (word, credentials(word), credentials(word).rstrip("=")):
            assert secret not in written


async def test_no_client_writes_a_line_of_the_log(running, raw_client):
    forged = "x\\n2026-01-01 00:00:00,000 ERROR forged\\r\\u001b[2J\\u0000\\u2028\\ud83d\\ude00"
    async with running("--local", "--debug") as (process, url, printed):
        raw = raw_client(int(url.rpartition(":")[2]))
        made = await raw.request("POST", "/v1/projects", body=b"{}")
        project = f"/v1/projects/{made.json['project_id']}"
        for method, path, key in (
            ("POST", "/v1/projects", "name"),
            ("POST", "/v1/projects", "path"),
            ("POST", "/v1/projects", "project_id"),
            ("PUT", project, "path"),
            ("POST", "/v1/version", "version"),
            ("GET", "/v1/files/stream", "location"),
            ("POST", f"{project}/vpcs/vms", forged),
        ):
            answer = await raw.request(method, path, body=f'{{"{key}": "{forged}"}}'.encode())
            assert answer.status < 500
        for path in ("/%0a%0dforged", f"{project}/files/%0aforged%1b%5b2J", "/v1/%E2%80%A8forged"):
            assert (await raw.request("GET", path)).status < 500
        process.terminate()
        out, err = (text.decode() for text in await process.communicate())
    assert err == ""
    assert "forged" in out
    for line in (printed + out).removesuffix("\n").split("\n"):
        assert LINE.match(line), line
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)
    assert len(re.findall(r"(?m)^2026-01-01 00:00:00", out)) == 0


@pytest.mark.parametrize(
    "content",
    [f"[Server]\npassword {PASSWORD}", f"password = {PASSWORD}", f"[Server]\n = {PASSWORD}"],
)
def test_a_file_that_cannot_be_read_is_not_quoted(tmp_path, content):
    path = tmp_path / "a.conf"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"line [12] is (in no|not)") as caught:
        LiveSettings(partial(load, {}, files=(path,)))
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__
