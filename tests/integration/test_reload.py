"""Settings that are read again while the server runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gns3server.app import serving
from gns3server.http.client import Client
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import load
from gns3server.testing.server_process import variables

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


def change(server, sections=None, **values):
    """Have other settings be there at the next reload."""
    settings = server.running.server.live_settings.current
    server.settings = replace(
        settings,
        server=replace(settings.server, **values),
        said={Path("test"): sections or {}},
    )


@pytest.fixture
async def reading(gns3_settings):
    """A server that reads its settings from real files: itself, and the file."""
    file = gns3_settings.home / ".config" / "GNS3" / "gns3_server.conf"
    file.parent.mkdir(parents=True)
    environ = {**gns3_settings.environ, **variables(gns3_settings.server)}
    async with serving(LiveSettings(partial(load, environ)), found=[]) as running:
        yield running, file


@pytest.mark.statement("CFG-01")
async def test_a_reload_takes_effect_at_once(client, raw, server):
    change(
        server,
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
    change(server, allowed_hosts="", local=False)
    assert (await client.post("/v1/config/reload")).status == 201
    assert (await raw.request("GET", "/v1/version", host="lab.example")).status == 403
    assert (await client.get("/v1/version")).json["local"] is False


async def test_what_is_fixed_at_the_start_stays(client, server, lab):
    before = lab.live_settings.current.server
    fixed = {"port": 1, "host": "0.0.0.0", "state_path": "/nowhere", "udp_start_port_range": 1}
    change(server, **fixed, max_nodes=3)
    assert (await client.post("/v1/config/reload")).status == 201
    assert lab.live_settings.current.server == replace(before, max_nodes=3)


@pytest.mark.statement("CFG-02", "SRV-01")
async def test_only_clients_of_a_local_server_may(gns3_serving):
    async with gns3_serving(plugins=[], local=False) as server:
        for path in ("/v1/config/reload", "/v1/server/shutdown"):
            answer = await server.client.post(path)
            assert answer.status == 403
            assert "--local" in answer.json["message"]
        assert not server.running.server.stopping.is_set()
        assert (await server.client.get("/v1/version")).status == 200


async def test_what_cannot_be_read_changes_nothing(reading):
    running, file = reading
    before = running.server.live_settings.current
    file.write_text("[Server]\nmax_nodes = many\n")
    async with Client(running.url) as client:
        answer = await client.post("/v1/config/reload")
    assert answer.status == 409
    assert "max_nodes must be a whole number" in answer.json["message"]
    assert running.server.live_settings.current is before


async def test_plugins_see_their_new_section_or_all_stays(gns3_serving, faulty_plugin):
    plugin = faulty_plugin(SECTION)
    async with gns3_serving(plugins=[plugin], sections={"mine": {"word": "old"}}) as server:
        lab, client = server.running.server, server.client
        (config,) = plugin.load().CONFIGS
        assert config["word"] == "old"
        change(server, {"mine": {"word": "new"}}, max_nodes=3)
        assert (await client.post("/v1/config/reload")).status == 201
        assert config["word"] == "new"
        change(server, {"mine": {"word": "bad"}}, max_nodes=4)
        answer = await client.post("/v1/config/reload")
        assert answer.status == 409
        assert "[mine]" in answer.json["message"]
        assert config["word"] == "new"
        assert lab.live_settings.current.server.max_nodes == 3


async def test_a_file_that_is_lost_opens_nothing(reading, until):
    running, file = reading
    config = running.server.live_settings
    warned: list[str] = []
    file.write_text("[Server]\nauth = yes\nuser = me\npassword = it\n")

    async def asks() -> bool:
        return bool(config.current.server.auth)

    async def has_warned() -> bool:
        return bool(warned)

    await until(asks)
    config.after_reload = lambda new: warned.extend(new.warnings)
    file.parent.rename(file.parent.with_name("away"))
    await until(has_warned)
    assert f"{file} is gone" in warned[0]
    async with Client(running.url) as client:
        assert (await client.get("/v1/version")).status == 401
    await asyncio.to_thread(config.reload)
    assert warned[1:] == warned[:1]


async def test_what_is_fixed_in_a_plugin_stays(gns3_serving, faulty_plugin):
    fixed = SECTION.replace(")\n\n@hookimpl", ", metadata={'fixed': True})\n\n@hookimpl", 1)
    plugin = faulty_plugin(fixed)
    async with gns3_serving(plugins=[plugin], sections={"mine": {"word": "old"}}) as server:
        (config,) = plugin.load().CONFIGS
        change(server, {"mine": {"word": "new"}})
        assert (await server.client.post("/v1/config/reload")).status == 201
        assert config["word"] == "old"


@pytest.mark.statement("CFG-08")
async def test_a_changed_file_is_read_by_itself(reading, caplog, until):
    running, file = reading
    config = running.server.live_settings

    async def complained() -> bool:
        return f"{file} cannot be read" in caplog.text

    async def applied() -> bool:
        return bool(config.current.server.max_nodes == 3)

    before = config.current
    file.write_text("[Server\n")
    await until(complained)
    assert config.current is before
    file.write_text("[Server]\nmax_nodes = 3\n")
    await until(applied)
