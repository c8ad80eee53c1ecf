"""Consoles that the server serves: what clients see of a terminal, and what outlives what."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from api_calls import new_project

from gns3server.running.helper_client import HelperClient
from gns3server.testing import ConsoleClient
from gns3server.testing.leftovers import TEST_VARIABLE, helpers_of


@pytest.fixture
def plugins():
    """Shells, and nothing else."""
    return {"shell": "toy_shell"}


def console(node):
    """Connect to a node's console, and wait for its prompt."""
    return ConsoleClient.open(node["console"], "shell> ")


async def new_shell(client, project, mode="good", **values):
    """Make a shell; returns its path and its object."""
    answer = await client.post(f"{project}/shell/vms", {"name": "S", "mode": mode, **values})
    assert answer.status == 201, answer
    return f"{project}/shell/vms/{answer.json['vm_id']}", answer.json


async def started(client, mode="good", **values):
    """Make a shell in a project of its own, and start it; returns its path and its object."""
    path, node = await new_shell(client, await new_project(client), mode, **values)
    answer = await client.post(f"{path}/start")
    assert answer.status == 204, answer
    return path, node


def helper_of(server):
    """The pid of the console server."""
    (pid,) = helpers_of(server.settings.environ[TEST_VARIABLE])
    return pid


@pytest.mark.parametrize("mode", ["good", "unix", "tcp"])
async def test_a_console_is_there_when_the_start_is_answered(client, mode):
    path, node = await started(client, mode)
    async with console(node) as shell:
        assert "welcome" in shell.text
        assert "unknown: hello" in await shell.run("hello")
    assert (await client.post(f"{path}/stop")).status == 204
    with pytest.raises(ConnectionRefusedError):
        async with console(node):
            pass


async def test_two_clients_see_the_same_and_a_late_one_what_was(client):
    _, node = await started(client)
    async with console(node) as one, console(node) as other:
        await one.run("first")
        assert "unknown: first" in await other.prompt()
        async with console(node) as late:
            assert "welcome" in late.text
            assert "unknown: first" in late.text


async def test_a_taken_console_port_is_named(client, server):
    path, node = await new_shell(client, await new_project(client))
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", node["console"])
    async with listener:
        answer = await client.post(f"{path}/start")
        assert answer.status == 409
        assert f"TCP port {node['console']}" in answer.json["message"]
    assert server.processes() == {}
    assert (await client.post(f"{path}/start")).status == 204


async def test_a_failed_start_quotes_what_the_terminal_shows(client, server):
    path, _ = await new_shell(client, await new_project(client), "exit")
    answer = await client.post(f"{path}/start")
    assert answer.status == 409
    assert "the shell exits at once" in answer.json["message"]
    path, _ = await new_shell(client, await new_project(client), "never")
    answer = await client.post(f"{path}/start")
    assert answer.status == 409
    assert "its terminal is not raw" in answer.json["message"]
    assert "the shell hangs" in answer.json["message"]
    assert server.processes() == {}


async def test_a_program_that_does_not_exist_is_named(client, server, monkeypatch):
    path, _ = await new_shell(client, await new_project(client))
    project = server.running.server.projects.projects[0]
    node = next(iter(project.members))
    spec = await node.launch_spec()

    async def launch_spec():
        return replace(spec, argv=("/no/such/program",))

    monkeypatch.setattr(node, "launch_spec", launch_spec)
    answer = await client.post(f"{path}/start")
    assert answer.status == 409
    assert "/no/such/program does not exist" in answer.json["message"]


async def test_the_end_of_a_program_is_told_with_what_it_has_shown(client):
    path, node = await started(client)
    project = path.partition("/shell")[0]
    async with client.listen(f"{project}/notifications") as lines, console(node) as shell:
        assert (await anext(lines))["action"] == "ping"
        await shell.enter("exit 3")
        assert (await anext(lines))["action"] == "vm.stopped"
        error = await anext(lines)
        assert error["action"] == "log.error"
        assert "ended with code 3" in error["event"]["message"]
        assert "exit 3" in error["event"]["message"]
        await shell.read_to_end()


# The websocket ----------------------------------------------------------------------------


def websocket_path(path, more=""):
    """Where a node's console is a websocket."""
    project, _, rest = path.partition("/shell/vms/")
    return f"{project}/nodes/{rest}/console{more}"


@pytest.fixture
def connect(server):
    """Opens a node's console as a websocket."""

    @asynccontextmanager
    async def connect(path, more="", **options):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}{websocket_path(path, more)}", **options) as socket,
        ):
            yield socket

    return connect


async def read_until(socket, text):
    """Read what a websocket shows until a text is among it."""
    shown = b""
    async with asyncio.timeout(30):
        while text not in shown:
            shown += await socket.receive_bytes()
    return shown


async def test_a_websocket_is_one_more_client(client, connect):
    path, node = await started(client)
    async with console(node) as shell, connect(path) as page:
        assert b"welcome" in await read_until(page, b"shell> ")
        await page.send_str("from a page")
        await page.send_bytes(b"\r")
        assert "unknown: from a page" in await shell.prompt()
        await read_until(page, b"unknown: from a page\r\nshell> ")
        await shell.run("from telnet")
        await read_until(page, b"unknown: from telnet\r\nshell> ")


async def test_a_page_that_only_watches_types_nothing(client, connect):
    path, _ = await started(client)
    async with connect(path, "?read_only=1") as watcher, connect(path) as page:
        await watcher.send_str("boo\r")
        await read_until(watcher, b"shell> ")
        await page.send_str("hello\r")
        assert b"boo" not in await read_until(watcher, b"unknown: hello")


async def test_the_size_of_a_window_reaches_the_program(client, connect):
    path, _ = await started(client)
    async with connect(path) as page:
        await page.send_str(json.dumps({"columns": 133, "rows": 37}))
        await page.send_str("size\r")
        await read_until(page, b"133x37")
        await page.send_str(json.dumps({"columns": 0, "rows": 37}))
        async for _ in page:
            pass
        assert page.close_code == 4400


async def test_an_open_page_holds_nothing_and_is_told_the_end(client, connect, server):
    path, _ = await started(client)
    async with connect(path) as page:
        await read_until(page, b"shell> ")
        assert (await client.put(path, {"name": "renamed"})).status == 200
        assert (await client.post(f"{path}/stop")).status == 204
        async for _ in page:
            pass
        assert page.close_code == 1000
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(
                f"{server.url}{websocket_path(path)}", headers={"Origin": "http://example.net"}
            )
        assert refused.value.status == 403


async def test_a_stopped_node_has_no_console_to_show(client, connect):
    path, _ = await new_shell(client, await new_project(client))
    async with connect(path) as page:
        async for _ in page:
            pass
        assert page.close_code == 4409


# What outlives what -----------------------------------------------------------------------


async def test_a_killed_console_server_ends_terminals_and_serves_the_rest(client, server):
    terminal, _ = await started(client)
    stubborn, _ = await started(client, "ignores-hangup")
    socket, node = await started(client, "unix")
    project = terminal.partition("/shell")[0]
    async with client.listen(f"{project}/notifications") as lines:
        assert (await anext(lines))["action"] == "ping"
        os.kill(helper_of(server), signal.SIGKILL)
        assert (await anext(lines))["action"] == "vm.stopped"
        error = await anext(lines)
        assert "lost its terminal" in error["event"]["message"]
    project = stubborn.partition("/shell")[0]
    while (await client.get(stubborn)).json["status"] != "stopped":
        await client.get("/v1/version")
    assert len(server.processes()) == 1
    assert (await client.get(socket)).json["status"] == "started"
    async with console(node) as shell:
        assert "unknown: again" in await shell.run("again")
    assert (await client.post(f"{terminal}/start")).status == 204


async def test_a_console_server_that_hangs_is_replaced(client, server):
    await started(client, "unix")
    hung = helper_of(server)
    os.kill(hung, signal.SIGSTOP)
    await started(client)
    assert helper_of(server) != hung


async def test_a_console_server_without_consoles_ends_with_the_server(
    gns3_serving, make_entry_point
):
    async with gns3_serving(plugins=[make_entry_point("shell", "toy_shell")]) as server:
        path, _ = await started(server.client)
        pid = helper_of(server)
        assert (await server.client.post(f"{path}/stop")).status == 204
        await started(server.client)
        assert helper_of(server) == pid
    assert helpers_of(server.settings.environ[TEST_VARIABLE]) == {}


# A console server that the next server finds -------------------------------------------------


@pytest.fixture
def keeping(gns3_serving, make_entry_point):
    """Makes servers that leave their nodes running, one after the other."""

    def keeping(**settings):
        plugins = [make_entry_point("shell", "toy_shell")]
        return gns3_serving(plugins=plugins, keep_nodes=True, **settings)

    return keeping


async def test_a_console_server_that_hangs_is_ended_by_the_next_server(keeping):
    async with keeping() as server:
        terminal, _ = await started(server.client)
        stubborn, _ = await started(server.client, "ignores-hangup")
        socket, node = await started(server.client, "unix")
        hung = helper_of(server)
    os.kill(hung, signal.SIGSTOP)
    async with keeping() as server:
        for lost in (terminal, stubborn):
            await until_stopped(server, lost)
        async with console(node) as shell:
            assert "unknown: again" in await shell.run("again")
        assert helper_of(server) != hung
        assert (await server.client.post(f"{terminal}/start")).status == 204
        await stop_all(server, terminal, socket)


async def test_a_program_that_lost_its_terminal_while_no_server_ran_is_stopped(keeping):
    async with keeping() as server:
        stubborn, _ = await started(server.client, "ignores-hangup")
        helper = helper_of(server)
    os.kill(helper, signal.SIGKILL)
    async with keeping() as server:
        await until_stopped(server, stubborn)
        assert server.processes() == {}


async def test_a_console_server_of_another_version_keeps_what_it_has(keeping, monkeypatch):
    async with keeping() as server:
        path, node = await started(server.client)
        older = helper_of(server)
    connect = HelperClient.connect

    async def connect_to_older(*arguments):
        helper = await connect(*arguments)
        if helper.greeting["pid"] == older:
            helper.greeting = {**helper.greeting, "protocol": 0}
        return helper

    monkeypatch.setattr(HelperClient, "connect", connect_to_older)
    async with console(node) as shell:
        async with keeping() as server:
            newcomer, other = await started(server.client)
            assert len(helpers_of(server.settings.environ[TEST_VARIABLE])) == 2
            assert "unknown: still" in await shell.run("still")
            async with console(other) as new:
                assert "unknown: hello" in await new.run("hello")
            assert (await server.client.get(path)).json["status"] == "started"
        # The next one finds both, each where it is.
        async with keeping() as server:
            assert "unknown: still" in await shell.run("still")
            assert (await server.client.get(newcomer)).json["status"] == "started"
            assert (await server.client.post(f"{path}/stop")).status == 204
            await shell.read_to_end()
            assert (await server.client.post(f"{path}/start")).status == 204
            await stop_all(server, path, newcomer)
            while older in helpers_of(server.settings.environ[TEST_VARIABLE]):
                await server.client.get("/v1/version")


async def test_a_console_that_the_next_server_cannot_serve_is_named(keeping, caplog):
    async with keeping() as server:
        path, node = await started(server.client)
    # Of a network for documentation (RFC 5737): no machine has it.
    async with keeping(console_host="192.0.2.1") as server:
        while f"TCP port {node['console']} of 192.0.2.1 cannot be used" not in caplog.text:
            await server.client.get("/v1/version")
        await stop_all(server, path)


async def until_stopped(server, path):
    """Wait until a node is stopped."""
    while (await server.client.get(path)).json["status"] != "stopped":
        await server.client.get("/v1/version")


async def stop_all(server, *paths):
    """Stop nodes, which would be kept otherwise."""
    for path in paths:
        assert (await server.client.post(f"{path}/stop")).status == 204


# Transcripts ------------------------------------------------------------------------------


def transcript_path(path):
    """Where a node's transcript is asked for."""
    return f"{websocket_path(path)}/transcript"


async def content(path):
    """What a file has."""
    return await asyncio.to_thread(path.read_text)


async def test_a_transcript_has_all_that_is_shown_while_it_is_asked_for(client):
    path, node = await started(client)
    file = Path(node["vm_directory"], "console.log")
    assert (await client.get(transcript_path(path))).json == {"path": None}
    async with console(node) as shell:
        await shell.run("before")
        assert (await client.post(transcript_path(path))).json == {"path": str(file)}
        await shell.run("meanwhile")
        assert (await client.get(transcript_path(path))).json == {"path": str(file)}
        assert (await client.delete(transcript_path(path))).json == {"path": None}
        await shell.run("afterwards")
    text = await content(file)
    assert "unknown: meanwhile" in text
    assert "before" not in text
    assert "afterwards" not in text


async def test_a_setting_asks_for_transcripts_of_all_consoles(gns3_serving, make_entry_point):
    shells = [make_entry_point("shell", "toy_shell")]
    async with gns3_serving(plugins=shells, console_transcripts=True) as server:
        path, node = await started(server.client)
        assert (await server.client.post(f"{path}/stop")).status == 204
        text = await content(Path(node["vm_directory"], "console.log"))
        assert text.startswith("welcome")


async def test_a_transcript_that_cannot_be_written_is_refused(client):
    path, node = await started(client)
    os.symlink("/dev/null", os.path.join(node["vm_directory"], "console.log"))
    answer = await client.post(transcript_path(path))
    assert answer.status == 409
    assert "console.log cannot be written" in answer.json["message"]
    assert (await client.get(transcript_path(path))).json == {"path": None}


async def test_a_transcript_that_can_no_longer_be_written_ends_alone(client, server, caplog):
    path, node = await started(client)
    file = Path(node["vm_directory"], "console.log")
    assert (await client.post(transcript_path(path))).json == {"path": str(file)}
    _, most = resource.prlimit(helper_of(server), resource.RLIMIT_FSIZE)
    # To its process this looks like a disk without room.
    resource.prlimit(helper_of(server), resource.RLIMIT_FSIZE, (1000, most))
    async with console(node) as shell:
        await shell.run("flood 100")
        while (await client.get(transcript_path(path))).json["path"] is not None:
            await client.get("/v1/version")
        assert f"the transcript {file} has ended: File too large" in caplog.text
        resource.prlimit(helper_of(server), resource.RLIMIT_FSIZE, (most, most))
        assert (await client.post(transcript_path(path))).json == {"path": str(file)}
        await shell.run("again")
    assert (await client.post(f"{path}/stop")).status == 204
    assert "unknown: again" in await content(file)


async def test_a_transcript_that_failed_without_a_server_is_told_by_the_next(keeping, caplog):
    async with keeping(console_transcripts=True) as server:
        path, node = await started(server.client)
        helper = helper_of(server)
    _, most = resource.prlimit(helper, resource.RLIMIT_FSIZE)
    resource.prlimit(helper, resource.RLIMIT_FSIZE, (1000, most))
    async with console(node) as shell:
        await shell.run("flood 100")
    async with keeping(console_transcripts=True) as server:
        assert "console.log has ended: File too large" in caplog.text
        assert (await server.client.get(transcript_path(path))).json == {"path": None}
        await stop_all(server, path)


async def test_a_node_starts_without_a_transcript_that_cannot_be_written(
    gns3_serving, make_entry_point, caplog
):
    shells = [make_entry_point("shell", "toy_shell")]
    async with gns3_serving(plugins=shells, console_transcripts=True) as server:
        path, node = await new_shell(server.client, await new_project(server.client))
        os.makedirs(node["vm_directory"])
        os.symlink("/dev/null", os.path.join(node["vm_directory"], "console.log"))
        assert (await server.client.post(f"{path}/start")).status == 204
        assert (await server.client.get(transcript_path(path))).json == {"path": None}
        assert "console.log has ended" in caplog.text


async def test_a_node_starts_again_after_its_clients_were_hung_up_on(client):
    path, node = await started(client)
    for _ in range(3):
        async with console(node) as shell:
            assert (await client.post(f"{path}/stop")).status == 204
            await shell.read_to_end()
        assert (await client.post(f"{path}/start")).status == 204
