"""Settings that are read again while the server runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gns3server.settings.schema import SettingsError

SECTION = """
from marshmallow import Schema, fields, validate

class Section(Schema):
    word = fields.String(load_default="none", validate=validate.NoneOf(["bad"]))

@hookimpl
def gns3_config_schema():
    return Section

CONFIGS = []

@hookimpl
def gns3_nio_types(config):
    CONFIGS.append(config)
    return []
"""


@pytest.fixture
def read_as(monkeypatch):
    """Says what the files hold from now on."""

    def read_as(lab, sections=None, **server):
        new = lab.config.current
        new = replace(new, server=replace(new.server, **server), sections=sections or {})
        monkeypatch.setattr(lab.config, "_read", lambda: new)

    return read_as


@pytest.mark.statement("CFG-01")
async def test_a_reload_takes_effect_at_once(client, raw, read_as, lab):
    read_as(
        lab,
        announced_version="9.9",
        allowed_hosts="lab.example",
        allowed_origins="http://web.example",
        max_listeners=1,
    )
    refused = await raw.request("GET", "/v1/version", host="lab.example")
    assert refused.status == 403
    answer = await client.post("/v1/config/reload")
    assert (answer.status, answer.body) == (201, b"")
    assert (await client.get("/v1/version")).json["version"] == "9.9"
    for headers, host in (((), "lab.example"), (("Origin: http://web.example",), "localhost")):
        assert (await raw.request("GET", "/v1/version", *headers, host=host)).status == 200
    async with client.listen() as events:
        assert await anext(events) == {"action": "ping"}
        assert (await client.get("/v1/notifications")).status == 409
    read_as(lab, allowed_hosts="", local=False)
    assert (await client.post("/v1/config/reload")).status == 201
    assert (await raw.request("GET", "/v1/version", host="lab.example")).status == 403
    assert (await client.get("/v1/version")).json["local"] is False


async def test_what_is_fixed_at_the_start_stays(client, read_as, lab):
    before = lab.config.current.server
    read_as(lab, port=1, host="0.0.0.0", state_path="/nowhere", udp_start_port_range=1, max_nodes=3)
    assert (await client.post("/v1/config/reload")).status == 201
    assert lab.config.current.server == replace(before, max_nodes=3)


@pytest.mark.statement("CFG-02", "SRV-01")
async def test_only_clients_of_a_local_server_may(gns3_serving):
    async with gns3_serving(plugins=[], local=False) as server:
        for path in ("/v1/config/reload", "/v1/server/shutdown"):
            answer = await server.client.post(path)
            assert answer.status == 403
            assert "--local" in answer.json["message"]
        assert not server.running.server.stop.is_set()
        assert (await server.client.get("/v1/version")).status == 200


async def test_what_cannot_be_read_changes_nothing(client, lab, monkeypatch):
    def fail():
        raise SettingsError("no such thing")

    before = lab.config.current
    monkeypatch.setattr(lab.config, "_read", fail)
    answer = await client.post("/v1/config/reload")
    assert answer.status == 409
    assert "no such thing" in answer.json["message"]
    assert lab.config.current is before


async def test_plugins_see_their_new_section_or_all_stays(gns3_serving, faulty_plugin, read_as):
    plugin = faulty_plugin(SECTION)
    async with gns3_serving(plugins=[plugin], sections={"mine": {"word": "old"}}) as server:
        lab, client = server.running.server, server.client
        (config,) = plugin.load().CONFIGS
        assert config["word"] == "old"
        read_as(lab, {"mine": {"word": "new"}}, max_nodes=3)
        assert (await client.post("/v1/config/reload")).status == 201
        assert config["word"] == "new"
        read_as(lab, {"mine": {"word": "bad"}}, max_nodes=4)
        answer = await client.post("/v1/config/reload")
        assert answer.status == 409
        assert "[mine]" in answer.json["message"]
        assert config["word"] == "new"
        assert lab.config.current.server.max_nodes == 3


@pytest.mark.statement("CFG-08")
async def test_a_changed_file_is_read_by_itself(server, lab, monkeypatch, caplog, until):
    caplog.set_level("INFO")
    directory = server.settings.home / ".config" / "GNS3"
    directory.mkdir(parents=True)
    failing = [True]

    def read():
        if failing:
            raise SettingsError("half a file")
        return replace(before, server=replace(before.server, max_nodes=3))

    async def complained() -> bool:
        return "half a file" in caplog.text

    async def applied() -> bool:
        return bool(lab.config.current.server.max_nodes == 3)

    before = lab.config.current
    monkeypatch.setattr(lab.config, "_read", read)
    monkeypatch.setattr(
        "gns3server.settings.live.config_files", lambda _: (directory / "gns3_server.conf",)
    )
    (directory / "gns3_server.conf").write_text("[Server\n")
    await until(complained)
    assert lab.config.current is before
    failing.clear()
    (directory / "gns3_server.conf").write_text("[Server]\nmax_nodes = 3\n")
    await until(applied)
