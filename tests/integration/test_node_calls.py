"""Plugins whose nodes hang, fail or misbehave: named, limited, and a nuisance to nobody else."""

from __future__ import annotations

import asyncio
import signal
from textwrap import dedent, indent
from typing import Any

import pytest

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
PROJECT = f"/v1/projects/{ID}"
LIMIT = 0.3
"""Seconds that a call into a plugin may take in these tests."""

HANG = "await asyncio.Event().wait()"
DEAF = """
    while not os.path.exists(str(self.project.path / "free")):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
"""
"""Takes no notice of being cancelled, until there is a certain file."""


def broken(method: str, body: str) -> str:
    """The source that gives toys called ``bad`` a method that does something else."""
    return (
        f"import asyncio, os\nplain_{method} = ToyNode.{method}\n"
        f"async def broken_{method}(self, *args):\n"
        f"    if self.name == 'bad':\n{indent(dedent(body).strip(), ' ' * 8)}\n"
        f"    return await plain_{method}(self, *args)\n"
        f"ToyNode.{method} = broken_{method}\n"
    )


@pytest.fixture
def serve(faulty_plugin, gns3_serving):
    """Makes servers whose bad toys have faults."""

    def serve(*faults: str, seconds: float = LIMIT, **options: Any) -> Any:
        point = faulty_plugin("\n".join(faults), name="toy", source="toy_emulator.py")
        return gns3_serving(plugins=[point], plugin_seconds=seconds, **options)

    return serve


async def make(client, name: str = "bad", status: int = 201, **values: Any) -> Any:
    """Make a toy in the project, which is made if need be; its path."""
    assert (await client.post("/v1/projects", {"project_id": ID, "name": "lab"})).status == 201
    answer = await client.post(f"{PROJECT}/toy/vms", {"name": name, **values})
    assert answer.status == status, answer
    return f"{PROJECT}/toy/vms/{answer.json['vm_id']}" if status == 201 else answer


async def start(client, node: str) -> None:
    answer = await client.post(f"{node}/start")
    assert answer.status == 204, answer


async def check_that_others_work(client) -> None:
    """Another node is made, started, shown, stopped and deleted."""
    other = await make(client, "good")
    await start(client, other)
    assert (await client.get(other)).json["status"] == "started"
    assert (await client.post(f"{other}/stop")).status == 204
    assert (await client.delete(other)).status == 204


def check_hang(answer, method: str) -> None:
    assert answer.status == 503, answer
    named = f"The plugin 'toy', in {method} of VM 'bad', did not return"
    assert named in answer.json["message"]


async def reported(events, method: str) -> str:
    """The message of the ``log.error`` that names a plugin's method."""
    while True:
        event = await anext(events)
        if event["action"] == "log.error":
            assert f"The plugin 'toy', in {method} of VM 'bad'" in event["event"]["message"]
            return str(event["event"]["message"])


# Hangs --------------------------------------------------------------------------------------


async def test_a_stop_that_hangs_ends_the_run_all_the_same(serve, caplog):
    async with serve(broken("stop", HANG)) as server:
        client = server.client
        node = await make(client)
        await start(client, node)
        async with client.listen(f"{PROJECT}/notifications") as events:
            check_hang(await client.post(f"{node}/stop"), "stop")
            assert server.processes() == {}
            assert (await client.get(node)).json["status"] == "stopped"
            message = await reported(events, "stop")
            assert (await anext(events))["action"] == "vm.stopped"
        assert "was given up" in message
        assert message in caplog.text
        await check_that_others_work(client)
        await start(client, node)
        assert (await client.delete(node)).status == 204
        assert server.processes() == {}


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["stop", "settle", "shut_down", "snapshot", "deleted"])
@pytest.mark.parametrize("end", ["close", "delete", "shutdown"])
async def test_what_hangs_keeps_no_project_from_being_ended(serve, method, end):
    # A snapshot that hangs only once the node runs.
    body = f"if self.properties['note'] == 'hang': {HANG}"
    async with serve(broken(method, body)) as server:
        client = server.client
        node = await make(client, note="")
        await start(client, node)
        await client.put(node, {"note": "hang"})
        good = await make(client, "good")
        await start(client, good)
        if end == "shutdown":
            assert (await client.post("/v1/server/shutdown")).status == 201
        else:
            method, path = ("POST", f"{PROJECT}/close") if end == "close" else ("DELETE", PROJECT)
            assert (await client.request(method, path)).status == 204
            assert (await client.get(PROJECT)).status == 404
        assert server.processes() == {}


async def test_a_launch_spec_that_hangs_leaves_the_node_stopped(serve):
    async with serve(broken("launch_spec", HANG)) as server:
        client = server.client
        node = await make(client)
        ports = len(server.ports.tcp)
        async with client.listen(f"{PROJECT}/notifications") as events:
            for _ in "once", "again":
                check_hang(await client.post(f"{node}/start"), "launch_spec")
                await reported(events, "launch_spec")
        assert (await client.get(node)).json["status"] == "stopped"
        assert len(server.ports.tcp) == ports
        await check_that_others_work(client)


async def test_a_creation_that_hangs_makes_nothing(serve):
    async with serve(broken("prepare", HANG)) as server:
        client = server.client
        check_hang(await make(client, status=503), "prepare")
        assert (await client.get(f"{PROJECT}/toy/vms")).json == []
        assert len(server.ports.tcp) == 0
        node = await make(client, "other")
        await check_that_others_work(client)
        assert (await client.put(node, {"name": "bad"})).status == 200
        check_hang(await client.put(node, {"name": "more"}), "prepare")
        assert (await client.get(node)).json["name"] == "bad"


async def test_a_node_that_cannot_be_shown_can_be_stopped_and_deleted(serve):
    body = f"if self.properties.get('note') == 'hang': {HANG}"
    async with serve(broken("snapshot", body)) as server:
        client = server.client
        node = await make(client)
        await start(client, node)
        check_hang(await client.put(node, {"note": "hang"}), "snapshot")
        check_hang(await client.get(node), "snapshot")
        async with client.listen(f"{PROJECT}/notifications") as events:
            assert (await client.post(f"{node}/stop")).status == 204
            await reported(events, "snapshot")
            told = await anext(events)
            assert "has stopped, and cannot be shown" in told["event"]["message"]
        assert server.processes() == {}
        await check_that_others_work(client)
        assert (await client.delete(node)).status == 204


async def test_a_node_that_cannot_settle_can_be_stopped_and_deleted(serve):
    async with serve(broken("settle", HANG)) as server:
        client = server.client
        node = await make(client)
        check_hang(await client.get(node), "settle")
        check_hang(await client.post(f"{node}/start"), "settle")
        assert (await client.post(f"{node}/stop")).status == 204
        assert (await client.delete(node)).status == 204
        await check_that_others_work(client)


async def test_a_leave_that_hangs_leaves_the_node_running(serve):
    async with serve(broken("leave", HANG), keep_nodes=True) as server:
        node = await make(server.client)
        await start(server.client, node)
        pids = set(server.processes())
    async with serve() as server:
        assert set(server.processes()) == pids
        assert (await server.client.get(node)).json["status"] == "started"


@pytest.mark.parametrize("method", ["created", "adopted", "wire_changed"])
async def test_what_only_tells_the_plugin_does_not_undo_what_was_done(serve, method):
    async with serve(broken(method, HANG), keep_nodes=True) as server:
        client = server.client
        node = await make(client)
        lport = server.settings.server.udp_start_port_range
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": 1}
        answer = await client.post(f"{node}/adapters/0/ports/0/nio", nio)
        assert answer.status == (503 if method == "wire_changed" else 201)
        await start(client, node)
        pids = set(server.processes())
    async with serve(broken(method, HANG)) as server:
        assert (await server.client.get(node)).json["status"] == "started"
        assert set(server.processes()) == pids
        assert server.ports.udp.holders(lport)
        assert (await server.client.post(f"{node}/stop")).status == 204


async def test_a_wire_that_cannot_be_checked_is_not_changed(serve):
    async with serve(broken("wire_changing", HANG)) as server:
        client, lport = server.client, server.settings.server.udp_start_port_range
        node = await make(client)
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": 1}
        check_hang(await client.post(f"{node}/adapters/0/ports/0/nio", nio), "wire_changing")
        assert not server.ports.udp.holders(lport)


async def test_a_check_of_a_wire_that_hangs_names_its_plugin(serve):
    fault = """
import asyncio
async def check(values, machine):
    await asyncio.Event().wait()
@hookimpl
def gns3_nio_types():
    return [NioType(name="nio_udp", schema=NioUdpSchema, local_udp_port="lport", check=check)]
"""
    async with serve(fault) as server:
        client, lport = server.client, server.settings.server.udp_start_port_range
        node = await make(client)
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": 1}
        answer = await client.post(f"{node}/adapters/0/ports/0/nio", nio)
        check_hang(answer, "the check of nio_udp")
        assert not server.ports.udp.holders(lport)


# What takes no notice -------------------------------------------------------------------------


async def test_a_node_answers_503_until_the_call_that_was_given_up_has_ended(serve, until):
    async with serve(broken("stop", DEAF)) as server:
        client = server.client
        node = await make(client)
        await start(client, node)
        check_hang(await client.post(f"{node}/stop"), "stop")
        assert server.processes() == {}
        for method, path, body in (
            ("GET", node, None),
            ("PUT", node, {"note": "x"}),
            ("POST", f"{node}/start", None),
        ):
            answer = await client.request(method, path, body)
            assert answer.status == 503, (method, path)
            assert "has not ended yet" in answer.json["message"]
        await check_that_others_work(client)
        path = (await client.get(PROJECT)).json["path"]
        await asyncio.to_thread(lambda: open(f"{path}/free", "w").close())

        async def usable() -> bool:
            return bool((await client.get(node)).status == 200)

        await until(usable)
        await start(client, node)


async def test_a_node_is_deleted_although_a_call_has_not_ended(serve):
    async with serve(broken("stop", DEAF)) as server:
        client = server.client
        node = await make(client)
        await start(client, node)
        path = (await client.get(PROJECT)).json["path"]
        assert (await client.delete(node)).status == 204
        assert server.processes() == {}
        assert (await client.get(node)).status == 404
        await asyncio.to_thread(lambda: open(f"{path}/free", "w").close())


async def test_the_program_ends_although_a_plugin_does_not(
    gns3_process, install_plugins, tmp_path, nodes
):
    site = tmp_path / "site"
    environ = {"PYTHONPATH": install_plugins(site, toy="own_toy")}
    thread = "Thread(target=Event().wait, name='idle', daemon=False).start()"
    thread = f"from threading import Event, Thread\n{thread}"
    source = "\n".join(["from toy_emulator import *", broken("stop", DEAF), thread])
    await asyncio.to_thread((site / "own_toy.py").write_text, source)
    async with gns3_process(environ=environ, strict_plugins=False) as server:
        await start(server.client, await make(server.client))
        await server.end(signal.SIGTERM)
        assert await server.ended() == 0
        assert nodes() == set()
        assert "the thread 'idle': Condition.wait" in server.log


# Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit('toy')",
        "raise KeyboardInterrupt",
        "raise asyncio.CancelledError",
        "raise GeneratorExit",
        "return 5",
    ],
)
async def test_what_would_end_the_server_is_a_failure_of_the_plugin(serve, caplog, body):
    async with serve(broken("launch_spec", body)) as server:
        client = server.client
        node = await make(client)
        async with client.listen(f"{PROJECT}/notifications") as events:
            answer = await client.post(f"{node}/start")
            assert answer.status == 500
            assert (
                "The plugin 'toy', in launch_spec of VM 'bad', has failed."
                in (answer.json["message"])
            )
            await reported(events, "launch_spec")
        assert (await client.get(node)).json["status"] == "stopped"
        await check_that_others_work(client)


FORGETFUL = """
ToyNode.seconds_for = lambda self, method: "long"
ToyNode.runs_with = property(lambda self: 1 / 0)
"""
"""What is no coroutine, and fails: a node is shown and stopped all the same."""


async def test_a_node_that_does_not_say_how_it_runs_is_stopped_all_the_same(serve, caplog):
    async with serve(FORGETFUL) as server:
        client = server.client
        node = await make(client)
        await start(client, node)
        (listed,) = (await client.get(f"{PROJECT}/nodes")).json
        assert (listed["status"], listed["runs_with"]) == ("started", {})
        assert (await client.post(f"{node}/stop")).status == 204
        assert server.processes() == {}
    for method in ("ready", "shut_down"):
        assert f"does not say how long its {method} may take" in caplog.text
    assert "does not say what it runs with" in caplog.text


async def test_a_shut_down_that_raises_ends_the_run_and_is_named(serve):
    async with serve(broken("shut_down", "raise ZeroDivisionError")) as server:
        client = server.client
        node = await make(client)
        await start(client, node)
        answer = await client.post(f"{node}/stop")
        assert (answer.status, "in shut_down of VM 'bad'" in answer.json["message"]) == (500, True)
        assert server.processes() == {}
        assert (await client.get(node)).json["status"] == "stopped"


# Locks ----------------------------------------------------------------------------------------


async def test_a_call_that_would_wait_for_itself_is_refused_at_once(serve):
    body = "async with self.project.enter(self.id): pass"
    # No limit helps here: nothing waits.
    async with serve(broken("launch_spec", body), seconds=3600) as server:
        client = server.client
        node = await make(client)
        answer = await client.post(f"{node}/start")
        assert answer.status == 500
        for name in ("in launch_spec of VM 'bad'", "Project.enter"):
            assert name in answer.json["message"]
        assert (await client.get(node)).json["status"] == "stopped"
        await check_that_others_work(client)


async def test_a_task_that_outlives_its_call_may_take_locks(serve):
    body = """
        async def later():
            await over.wait()
            async with self.project.enter(self.id):
                await self.project.publish("toy.later", {})
        over = asyncio.Event()
        self.task = asyncio.create_task(later())
        asyncio.get_running_loop().call_later(0.01, over.set)
"""
    async with serve(broken("launch_spec", body), seconds=3600) as server:
        client = server.client
        node = await make(client)
        async with client.listen(f"{PROJECT}/notifications") as events:
            await start(client, node)
            while (await anext(events))["action"] != "toy.later":
                pass


# Plugins of 0.1 -------------------------------------------------------------------------------

OLD = """
async def start(self):
    await super(ToyNode, self).start()
    await self.project.publish("toy.after", {"state": self.state.value})
ToyNode.start = start

async def kick(call):
    await call.node.start()

@hookimpl
def gns3_routes():
    return [
        Route(
            method="POST",
            path="/v1/projects/{project_id}/toy/vms/{vm_id}/kick",
            handler=kick,
            summary="Start it",
            status=204,
            scope=Scope.NODE,
            node_type="toy",
            tag="toy",
        ),
    ]
"""


@pytest.mark.parametrize("action", ["start", "kick"])
async def test_a_start_that_calls_the_cores_has_no_limit_while_that_works(serve, action):
    async with serve(OLD) as server:
        client = server.client
        node = await make(client)
        # No process comes up within a hundredth of a second.
        server.running.server.projects.get(ID).limits.seconds = 0.01
        async with client.listen(f"{PROJECT}/notifications") as events:
            assert (await client.post(f"{node}/{action}")).status == 204
            told = [await anext(events) for _ in range(3)]
        assert [event["action"] for event in told] == ["ping", "vm.started", "toy.after"]
        assert told[2]["event"] == {"state": "started"}
        assert (await client.get(node)).json["status"] == "started"


async def test_a_start_that_fails_after_the_cores_is_undone(serve):
    body = "await plain_start(self); raise ZeroDivisionError"
    async with serve(broken("start", body)) as server:
        client = server.client
        node = await make(client)
        assert (await client.post(f"{node}/start")).status == 500
        assert (await client.get(node)).json["status"] == "stopped"
        assert server.processes() == {}


async def test_home_is_still_there_and_warns(serve):
    body = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await self.home.announce("vm.stopped", self)
        assert [w.category for w in caught] == [DeprecationWarning] * 2
"""
    async with serve(broken("launch_spec", body)) as server:
        client = server.client
        node = await make(client)
        async with client.listen(f"{PROJECT}/notifications") as events:
            await start(client, node)
            told = [(await anext(events))["action"] for _ in range(3)]
        assert told == ["ping", "vm.stopped", "vm.started"]
