"""A plugin that does what no plugin should, in a server that is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import re

import aiohttp
import pytest


@pytest.fixture
def serve_bad(gns3_process, install_plugins, tmp_path):
    """Starts servers with the plugin that misbehaves when asked to, and the toy emulator."""
    found_at = install_plugins(tmp_path / "site", bad="misbehaving_plugin", toy="toy_emulator")

    def serve(**environ):
        # Not strict: toys fail an installed plugin that has their types.
        return gns3_process(environ={"PYTHONPATH": found_at, **environ}, strict_plugins=False)

    return serve


async def check_that_others_work(client):
    """A whole life of a project and of a node of another plugin."""
    answer = await client.post("/v1/projects", {"name": "test"})
    assert answer.status == 201
    project = f"/v1/projects/{answer.json['project_id']}"
    node = await client.post(f"{project}/toy/vms", {"name": "toy"})
    toy = f"{project}/toy/vms/{node.json['vm_id']}"
    assert (await client.post(f"{toy}/start")).status == 204
    assert (await client.post(f"{toy}/stop")).status == 204
    assert (await client.delete(project)).status == 204


@pytest.mark.parametrize(
    ("method", "kind"), [("GET", "ways"), ("POST", "ways"), ("POST", "streams")]
)
async def test_a_handler_that_ends_the_server_ends_its_request_only(serve_bad, method, kind):
    async with serve_bad() as server:
        for way in ("leave-server", "interrupt", "cancel"):
            answer = await server.client.request(method, f"/v1/bad/{kind}/{way}")
            assert answer.status == 500
            assert "'bad' failed: its handler misbehave tried to end" in answer.json["message"]
            assert "Exit" not in answer.json["message"]
            assert await server.says("'bad' failed in misbehave: it (raised|was cancelled)")
        await check_that_others_work(server.client)


async def test_a_handler_that_fails_is_named(serve_bad):
    async with serve_bad() as server:
        answer = await server.client.post("/v1/bad/ways/fail")
        assert answer.status == 500
        assert "'bad' failed in its handler misbehave. It is noted" in answer.json["message"]
        assert "not to be told" not in answer.json["message"]
        assert await server.says("ValueError: not to be told")


async def test_an_error_of_a_plugins_own_names_the_plugin_too(serve_bad):
    async with serve_bad() as server:
        answer = await server.client.post("/v1/bad/ways/fail-oddly")
        assert answer.status == 500
        message = answer.json["message"]
        assert message.startswith("The plugin 'bad' failed to carry out this request. It is noted")
        assert message.endswith("tell the plugin's authors.")
        for internal in ("not to be told", "OddError", "report it"):
            assert internal not in message
        assert await server.says("OddError: not to be told")


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("way", ["wait", "swallow"])
async def test_a_handler_that_hangs_is_given_up(serve_bad, method, way):
    async with serve_bad() as server:
        path = f"/v1/bad/ways/{way}"
        # Others are served meanwhile.
        answer, _ = await asyncio.gather(
            server.client.request(method, path), check_that_others_work(server.client)
        )
        assert answer.status == 503
        assert "'bad' was given up: its handler misbehave" in answer.json["message"]
        assert "within 1 seconds" in answer.json["message"]


@pytest.mark.parametrize(
    ("way", "place"),
    [
        ("leave-task", r"the plugin 'bad', end_later \(.*misbehaving_plugin.py, line \d+\)"),
        ("leave-callback", r"the plugin 'bad', leave_server_now \("),
    ],
)
async def test_what_a_plugin_leaves_behind_does_not_end_the_server(serve_bad, way, place):
    async with serve_bad() as server:
        assert (await server.client.post(f"/v1/bad/ways/{way}")).status == 204
        assert await server.says(f"{place}.* raised SystemExit: the server goes on")
        await check_that_others_work(server.client)


async def test_a_plugin_that_stops_the_loop_stops_nobody(serve_bad):
    async with serve_bad() as server:
        assert (await server.client.post("/v1/bad/ways/stop-loop")).status == 204
        assert await server.says("something has stopped the event loop")
        await check_that_others_work(server.client)


async def test_threads_that_hang_are_made_up_for(serve_bad):
    async with serve_bad() as server:
        assert (await server.client.post("/v1/bad/ways/hang-in-threads")).status == 204
        assert await server.says(
            r"\d+ threads hang: they are replaced. In: the plugin 'bad', hang \(.*line \d+\)"
        )
        await check_that_others_work(server.client)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("end", "way", "what"),
    [
        ("request", "leave-thread", "the thread 'left by mistake': the plugin 'bad', hang"),
        ("signal", "leave-thread", "the thread 'left by mistake': the plugin 'bad', hang"),
        ("signal", "leave-deaf-task", "the task '.*': the plugin 'bad', swallow"),
        ("signal", "leave-executor", "the thread '.*': the plugin 'bad', hang"),
        ("signal", "hang-at-exit", "the thread main: the plugin 'bad', hang"),
        ("signal", "hang-in-threads", ""),
    ],
)
async def test_the_server_ends_without_what_does_not(serve_bad, end, way, what):
    async with serve_bad() as server:
        project = (await server.client.post("/v1/projects", {"name": "left"})).json
        assert (await server.client.post(f"/v1/bad/ways/{way}")).status == 204
        if end == "request":
            assert (await server.client.post("/v1/server/shutdown")).status == 201
        else:
            await server.end()
        assert await server.ended() == 0
        assert "INFO stopped\n" in server.log
        assert re.search(f"ends without waiting for {what}" if what else "", server.log)
    async with serve_bad() as server:
        # It has ended in order.
        known = (await server.client.get(f"/v1/projects/{project['project_id']}")).status
        assert known == (200 if end == "signal" else 404)


async def test_a_server_whose_plugins_leave_nothing_ends_without_a_word(serve_bad):
    async with serve_bad() as server:
        await check_that_others_work(server.client)
        # Threads that only wait for more work end by themselves.
        assert (await server.client.post("/v1/bad/ways/use-executor")).status == 204
        await server.end()
    assert server.log.splitlines()[-1].endswith("INFO stopped")


async def test_who_holds_the_loop_is_named(serve_bad, tmp_path):
    async with serve_bad() as server:
        held = tmp_path / "go-on"
        answer = asyncio.create_task(server.client.post("/v1/bad/block", {"until": str(held)}))
        assert await server.says(
            r"the event loop is held.* In the plugin 'bad', block_until "
            r"\(.*misbehaving_plugin.py, line \d+\), for POST /v1/bad/block"
        )
        held.touch()
        assert await server.says("the event loop runs again")
        assert (await answer).status == 204
        await check_that_others_work(server.client)


async def test_a_pattern_that_takes_for_ever_is_named_and_given_up(serve_bad):
    async with serve_bad() as server:
        path = f"/v1/bad/slow/{'a' * 100}-"
        slow = asyncio.create_task(server.client.get(path))
        assert await server.says(
            r"the event loop is held.*, for GET /v1/bad/slow/a+-, which is compared with the route "
            r"/v1/bad/slow/{text}"
        )
        answer = await slow
        assert (answer.status, answer.json["status"]) == (503, 503)
        assert (
            "compared with the route /v1/bad/slow/{text}, takes too long" in answer.json["message"]
        )
        await check_that_others_work(server.client)


async def test_a_lifespan_that_fails_while_the_server_runs_ends_its_plugin_only(
    serve_bad, tmp_path
):
    fails = tmp_path / "fail"
    async with serve_bad(BAD_LIFESPAN=str(fails)) as server:
        assert (await server.client.post("/v1/bad/ways/misbehave-not")).status == 204
        fails.touch()
        assert await server.says("plugin bad failed in gns3_lifespan: .*; it is out of service")
        answer = await server.client.post("/v1/bad/ways/misbehave-not")
        assert (answer.status, "'bad'" in answer.json["message"]) == (503, True)
        await check_that_others_work(server.client)


@pytest.mark.heavy
async def test_who_holds_the_loop_does_not_keep_the_server_from_ending(serve_bad, tmp_path):
    async with serve_bad() as server:
        held = {"until": str(tmp_path / "never")}
        answer = asyncio.create_task(server.client.post("/v1/bad/block", held))
        assert await server.says("the event loop is held")
        await server.end()
        assert await server.ended() == 1
        assert re.search("without waiting for the thread main: the plugin 'bad', block", server.log)
        with contextlib.suppress(aiohttp.ClientError):
            await answer


async def test_the_server_ends_although_something_never_does(serve_bad):
    async with serve_bad() as server:
        assert (await server.client.post("/v1/bad/ways/hold-end")).status == 204
        await server.end()
        assert await server.ended() == 1
        assert re.search("ends without waiting for the task '.*': the plugin 'bad'", server.log)
        assert "INFO stopped\n" not in server.log
