"""Plugins that work, and plugins that fail, on a whole server."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import re
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager

import pytest
from api_calls import new_project
from waiting import until

from gns3server import hookspecs
from gns3server.http.client import Client
from gns3server.plugin_host.host import PluginFailed

HOOKS = sorted(name for name in vars(hookspecs) if name.startswith(hookspecs.PREFIX))


def hook(name, arguments, body):
    """The source of a hook that is called as it is."""
    return f"@hookimpl\ndef {name}({arguments}):\n    {body}\n"


def async_hook(name, argument, body):
    """The source of a hook that is awaited."""
    return f"@hookimpl\nasync def {name}({argument}):\n    {body}\n"


def lifespan(before="", after=""):
    """The source of a lifespan."""
    return (
        "import asyncio\n@hookimpl\n@asynccontextmanager\nasync def gns3_lifespan(server):\n"
        f"    {before or 'pass'}\n    yield\n    {after or 'pass'}\n"
    )


DEAF = """
RELEASED = False
async def deaf():
    import asyncio
    while not RELEASED:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            pass
"""
"""What does not end when it is cancelled; it does once the test is over."""

AT_START = [
    ("import", "raise OSError('toy fault')"),
    ("registration", hook("gns3_toy_fault", "", "return []")),
    ("gns3_config_schema", hook("gns3_config_schema", "", "raise OSError('toy fault')")),
    ("gns3_config_schema", hook("gns3_config_schema", "", "return 'toy fault'")),
    (
        "configuration",
        hook("gns3_config_schema", "", "return Schema.from_dict({'x': fields.Raw(required=True)})"),
    ),
    ("gns3_node_types", hook("gns3_node_types", "", "raise OSError('toy fault')")),
    ("gns3_nio_types", hook("gns3_nio_types", "", "raise OSError('toy fault')")),
    ("gns3_routes", hook("gns3_routes", "", "raise OSError('toy fault')")),
    ("gns3_lifespan", hook("gns3_lifespan", "", "raise OSError('toy fault')")),
    ("gns3_lifespan", lifespan("raise OSError('toy fault')")),
    ("gns3_lifespan", lifespan("raise asyncio.CancelledError('toy fault')")),
    ("gns3_lifespan", lifespan("raise SystemExit('toy fault')")),
    ("gns3_lifespan", lifespan("raise KeyboardInterrupt('toy fault')")),
    ("gns3_lifespan", hook("gns3_lifespan", "", "return 'toy fault'")),
    ("registration", async_hook("gns3_lifespan", "", "'toy fault'")),
]

OBSERVERS = [
    ("gns3_project_opened", "raise OSError('toy fault')"),
    ("gns3_project_closing", "raise OSError('toy fault')"),
    ("gns3_project_closed", "raise OSError('toy fault')"),
    ("gns3_project_opened", "raise SystemExit('toy fault')"),
    ("gns3_project_closing", "raise KeyboardInterrupt('toy fault')"),
    ("gns3_project_closed", "import asyncio; raise asyncio.CancelledError('toy fault')"),
]


@pytest.fixture
def serving_with(gns3_serving, faulty_plugin, make_entry_point):
    """Serves with the toy emulator and a plugin that has a fault, not strictly."""

    @asynccontextmanager
    async def serving(fault, **options):
        faulty = faulty_plugin(fault)
        plugins = [faulty, make_entry_point("toy", "toy_emulator")]
        options = {"strict_plugins": False, **options}
        try:
            async with gns3_serving(plugins=plugins, **options) as server:
                yield server
        finally:
            if faulty.value in sys.modules:
                vars(sys.modules[faulty.value])["RELEASED"] = True

    return serving


async def state_of(client, name="mine"):
    """What ``GET /v1/plugins`` says of a plugin: status, phase and message."""
    answer = await client.get("/v1/plugins")
    assert "Traceback" not in answer.body.decode()
    (plugin,) = [plugin for plugin in answer.json if plugin["name"] == name]
    return plugin["status"], plugin["phase"], plugin["message"]


async def check_that_all_else_works(client, project):
    """A whole life of a node of the other plugin."""
    assert await state_of(client, "toy") == ("ok", None, None)
    answer = await client.post(f"{project}/toy/vms", {"name": "other"})
    assert answer.status == 201
    toy = f"{project}/toy/vms/{answer.json['vm_id']}"
    assert (await client.post(f"{toy}/start")).status == 204
    assert (await client.get(toy)).json["status"] == "started"
    assert (await client.delete(toy)).status == 204


async def check_that_it_is_refused(client, method, path):
    """A request to a failed plugin answers 503 with the reason."""
    answer = await client.request(method, path)
    assert (answer.status, answer.json["status"]) == (503, 503)
    assert "'mine'" in answer.json["message"]
    # Its class is for those who have written the plugin.
    reason = re.sub(r"^\w+(Error|Group): ", "", (await state_of(client))[2])
    assert f"could not be used: {reason} (in " in answer.json["message"]
    assert "Traceback" not in answer.json["message"]
    return answer


@pytest.mark.heavy
@pytest.mark.parametrize(("phase", "fault"), AT_START)
async def test_a_plugin_that_fails_at_start_leaves_nothing_and_hinders_nobody(
    serving_with, phase, fault
):
    async with serving_with(fault) as server:
        client = server.client
        status, where, message = await state_of(client)
        assert (status, where) == ("failed", phase)
        assert message
        project = await new_project(client)
        await check_that_all_else_works(client, project)
        for method, path in (
            ("GET", f"{project}/mine/vms"),
            ("POST", f"{project}/mine/vms"),
            ("DELETE", f"{project}/mine-more/vms/x"),
            ("GET", "/v1/mine"),
        ):
            await check_that_it_is_refused(client, method, path)
        assert (await client.get(f"{project}/nobody/vms")).status == 404
        assert list(server.running.server.registry.node_types) == ["toy"]
        assert "nio_mine" not in server.running.server.registry.nio_types
        paths = (await client.get("/v1/openapi.json")).json["paths"]
        assert not [path for path in paths if "mine" in path or "/number" in path]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("phase", "fault"),
    [
        ("import", "import threading\nthreading.Event().wait(30)"),
        ("gns3_lifespan", hook("gns3_lifespan", "", "import time; time.sleep(30)")),
        ("gns3_lifespan", lifespan("await asyncio.Event().wait()")),
        ("gns3_lifespan", DEAF + lifespan("await deaf()")),
    ],
)
async def test_a_plugin_that_hangs_at_start_is_left_behind(serving_with, phase, fault):
    async with serving_with(fault, plugin_seconds=2) as server:
        message = "it did not return within 2 seconds"
        assert await state_of(server.client) == ("failed", phase, message)
        project = await new_project(server.client)
        await check_that_all_else_works(server.client, project)
        answer = await server.client.get(f"{project}/mine/vms")
        assert (answer.status, message in answer.json["message"]) == (503, True)


@pytest.mark.heavy
@pytest.mark.parametrize(("phase", "fault"), OBSERVERS)
async def test_a_hook_that_fails_vetoes_nothing_and_is_not_called_again(serving_with, phase, fault):
    calls = f"CALLS = []\n{async_hook(phase, 'project', f'CALLS.append(1); {fault}')}"
    async with serving_with(calls) as server:
        client = server.client
        for _ in range(2):
            project = await new_project(client)
            node = await client.post(f"{project}/mine/vms", {"name": "works"})
            assert node.status == 201
            assert (await client.post(f"{project}/close")).status == 204
            assert (await client.get(project)).status == 404
        plugin = server.running.plugins.plugins[0]
        assert plugin.module.CALLS == [1]
        assert phase not in plugin.hooks
        # All else of it goes on.
        status, where, message = await state_of(client)
        assert (status, where) == ("ok", phase)
        assert "toy fault" in message or "cancelled, and not by this server" in message
        assert (await client.get("/v1/number")).json == {"number": 1}
        await check_that_all_else_works(client, await new_project(client))


@pytest.mark.heavy
@pytest.mark.parametrize(
    "fault",
    [
        # The function itself hangs, before there is anything to be awaited.
        """
async def awaited(project): ...

@hookimpl
@__import__("functools").wraps(awaited)
def gns3_project_opened(project):
    import time; time.sleep(30)
""",
        async_hook("gns3_project_opened", "project", "import asyncio; await asyncio.sleep(30)"),
        DEAF + async_hook("gns3_project_opened", "project", "await deaf()"),
    ],
)
async def test_an_observer_that_hangs_is_given_up(serving_with, fault):
    async with serving_with(fault, plugin_seconds=2) as server:
        project = await new_project(server.client)
        status, phase, text = await state_of(server.client)
        assert (status, phase) == ("ok", "gns3_project_opened")
        assert text == "it did not return within 2 seconds"
        await check_that_all_else_works(server.client, project)


async def test_a_lifespan_whose_task_fails_ends_its_plugin_and_nothing_else(serving_with, until):
    fault = """
import asyncio
FAIL = asyncio.Event()

async def fail():
    await FAIL.wait()
    raise OSError("toy fault")

@hookimpl
@asynccontextmanager
async def gns3_lifespan(server):
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        yield
"""
    async with serving_with(fault) as server:
        project = await new_project(server.client)
        node = (await server.client.post(f"{project}/mine/vms", {"name": "stays"})).json
        plugin = server.running.plugins.plugins[0]
        plugin.module.FAIL.set()
        await until(lambda: asyncio.sleep(0, plugin.failed))
        status, phase, _ = await state_of(server.client)
        assert (status, phase) == ("failed", "gns3_lifespan")
        for method, path in (
            ("GET", "/v1/number"),
            ("GET", f"{project}/mine/vms/{node['vm_id']}"),
        ):
            await check_that_it_is_refused(server.client, method, path)
        await check_that_all_else_works(server.client, project)
        # Its nodes are closed with their project all the same.
        assert (await server.client.post(f"{project}/close")).status == 204


@pytest.mark.heavy
@pytest.mark.parametrize("moment", ["opened", "closing", "closed"])
@pytest.mark.parametrize("end", ["signal", "request"])
async def test_a_plugin_that_hangs_does_not_hold_up_a_shutdown(serving_with, until, moment, end):
    fault = async_hook(
        f"gns3_project_{moment}", "project", "import asyncio; await asyncio.sleep(600)"
    )
    fault += lifespan(after="await asyncio.sleep(600)")
    async with asyncio.timeout(60), serving_with(fault, plugin_seconds=600) as server:
        opening = asyncio.create_task(server.client.post("/v1/projects", {}))
        if moment == "opened":
            await until(lambda: asyncio.sleep(0, bool(server.running.server.projects.projects)))
        else:
            assert (await opening).status == 201
        if end == "request":
            assert (await server.client.post("/v1/server/shutdown")).status == 201
    await asyncio.gather(opening, return_exceptions=True)


async def test_a_lifespan_that_fails_at_its_end_hinders_no_other(
    serving_with, gns3_serving, faulty_plugin, make_entry_point
):
    fault = lifespan(after="raise OSError('toy fault')")
    calls = "LEFT = []\n" + lifespan(after="LEFT.append(1)") + "NIO_MINE = None\n"
    quiet = "".join(
        hook(name, "", "return []") for name in ("gns3_node_types", "gns3_nio_types", "gns3_routes")
    )
    first = faulty_plugin(calls + quiet, name="another")
    async with gns3_serving(plugins=[first, faulty_plugin(fault)], strict_plugins=False) as server:
        assert await state_of(server.client) == ("ok", None, None)
    assert importlib.import_module(first.value).LEFT == [1]
    failed = server.running.plugins.plugins[1]
    assert (failed.phase, failed.message) == ("gns3_lifespan", "OSError: toy fault")


@pytest.mark.heavy
@pytest.mark.parametrize(("phase", "fault"), AT_START)
async def test_strict_mode_does_not_start_with_a_plugin_that_fails(serving_with, phase, fault):
    with pytest.raises(PluginFailed, match=f"plugin mine: {phase}: "):
        async with serving_with(fault, strict_plugins=True):
            pytest.fail("the server runs")


@pytest.mark.parametrize(
    ("phase", "fault"),
    [
        ("gns3_lifespan", lifespan(after="raise OSError('toy fault')")),
        (
            "gns3_project_closing",
            async_hook("gns3_project_closing", "project", "raise OSError('toy fault')"),
        ),
    ],
)
async def test_strict_mode_tells_at_the_end_what_failed_while_running(serving_with, phase, fault):
    serving = serving_with(fault, strict_plugins=True)
    server = await serving.__aenter__()
    project = await new_project(server.client)
    await check_that_all_else_works(server.client, project)
    # The fault of an observer must not keep the project from being closed.
    assert (await server.client.post(f"{project}/close")).status == 204
    assert (await server.client.get(project)).status == 404
    with pytest.raises(PluginFailed, match=f"plugin mine: {phase}: OSError: toy fault"):
        await serving.__aexit__(None, None, None)


async def test_a_disabled_plugin_does_not_exist(serving_with):
    async with serving_with("", disabled_plugins="mine") as server:
        assert await state_of(server.client) == ("disabled", None, None)
        project = await new_project(server.client)
        assert (await server.client.get(f"{project}/mine/vms")).status == 404
        await check_that_all_else_works(server.client, project)


@pytest.mark.parametrize("way", ["close", "delete"])
async def test_a_project_does_not_go_before_plugins_know_that_it_is_open(serving_with, way):
    """What a plugin does while it is told of a project is not lost under its hands."""
    fault = """
import asyncio
CALLS, MAY_GO_ON = [], asyncio.Event()

@hookimpl
async def gns3_project_opened(project):
    CALLS.append("opened")
    await MAY_GO_ON.wait()
    await project.store.set("note", {"kept": True})
    CALLS.append(await project.store.get("note"))

@hookimpl
async def gns3_project_closing(project):
    CALLS.append("closing")
"""
    async with serving_with(fault, strict_plugins=True) as server:
        plugin = server.running.plugins.plugins[0].module
        manager, project_id = server.running.server.projects, str(uuid.uuid4())
        opening = asyncio.create_task(
            server.client.post("/v1/projects", {"project_id": project_id})
        )
        await until(lambda: asyncio.sleep(0, bool(plugin.CALLS)))
        project, path = manager.get(project_id), f"/v1/projects/{project_id}"
        going = asyncio.create_task(
            server.client.delete(path) if way == "delete" else server.client.post(f"{path}/close")
        )
        await until(lambda: asyncio.sleep(0, project.leavers > 0))
        plugin.MAY_GO_ON.set()
        assert (await opening).status == 201
        assert (await going).status == 204
        assert plugin.CALLS == ["opened", {"kept": True}, "closing"]


async def test_nodes_of_a_plugin_that_fails_stay_stored(serving_with):
    async with serving_with("") as server:
        project = await new_project(server.client)
        node = (await server.client.post(f"{project}/mine/vms", {"name": "stays"})).json
    async with serving_with(lifespan("raise OSError('toy fault')")) as server:
        await check_that_it_is_refused(server.client, "GET", f"{project}/mine/vms/{node['vm_id']}")
        await check_that_all_else_works(server.client, project)
    async with serving_with("") as server:
        assert (await server.client.get(f"{project}/mine/vms/{node['vm_id']}")).json == node


async def test_a_nio_type_that_cannot_be_described_spoils_no_other_plugin(serving_with):
    fault = "".join(hook(name, "", "return []") for name in ("gns3_node_types", "gns3_routes"))
    fault += "NIO_MINE.schema._declared_fields['lport'].metadata['example'] = object()\n"
    async with serving_with(fault) as server:
        # The toy takes NIOs of any type, and mine is the plugin that comes first.
        paths = (await server.client.get("/v1/openapi.json")).json["paths"]
        assert [path for path in paths if path.endswith("/toy/vms/{vm_id}/start")]
        assert (await state_of(server.client))[:2] == ("ok", "openapi")
        assert await state_of(server.client, "toy") == ("ok", None, None)


@pytest.mark.parametrize(
    "values",
    [
        "answer=Schema.from_dict({'x': fields.Nested(lambda: 1 / 0)}, name='BadSchema')",
        "answer=Schema.from_dict({'x': fields.String(metadata={'example': object()})})",
        "body=OneOf('type', lambda server: 1 / 0)",
    ],
)
async def test_a_plugin_that_cannot_be_described_is_left_out_of_the_api_document(
    serving_with, make_entry_point, gns3_serving, values
):
    fault = f"""
from gns3server.plugin import OneOf
PLAIN = [gns3_routes]

async def show(call):
    return {{}}

@hookimpl
def gns3_routes(config):
    route = dict(method="GET", path="/v1/mine", handler=show, summary="", changes=False)
    return [*PLAIN[0](config), Route(**{{**route, **dict({values})}})]
"""
    async with serving_with(fault) as server:
        document = (await server.client.get("/v1/openapi.json")).json
        again = (await server.client.get("/v1/openapi.json")).json
        status, phase, message = await state_of(server.client)
        assert (status, phase, bool(message)) == ("ok", "openapi", True)
        # It is in service all the same.
        async with Client(server.url) as client:
            assert (await client.get("/v1/number")).json == {"number": 1}
    async with gns3_serving(plugins=[make_entry_point("toy", "toy_emulator")]) as server:
        assert document == again == (await server.client.get("/v1/openapi.json")).json


RECORDER = """
from pathlib import Path
from contextlib import asynccontextmanager
CALLS = []
NODE_TYPES, NIO_TYPES, ROUTES = gns3_node_types(), gns3_nio_types(), gns3_routes()

@hookimpl
def gns3_config_schema():
    CALLS.append("gns3_config_schema")
    return Schema

@hookimpl
def gns3_node_types(config):
    CALLS.append("gns3_node_types")
    return NODE_TYPES

@hookimpl
def gns3_nio_types(config):
    CALLS.append("gns3_nio_types")
    return NIO_TYPES

@hookimpl
def gns3_routes(config):
    CALLS.append("gns3_routes")
    return ROUTES

@hookimpl
@asynccontextmanager
async def gns3_lifespan(server):
    assert server.projects.projects == []
    CALLS.append("gns3_lifespan")
    yield
    assert server.projects.projects == []
    CALLS.append("gns3_lifespan ends")

async def observe(hook, project):
    import asyncio
    def facts():
        states = [node.state.value for node in project.members]
        there = "there" if project.path.exists() else "gone"
        life = "closed" if project.closed else "open"
        return " ".join([hook, project.name, life, there, *states])
    before = facts()
    await asyncio.sleep(0.01)  # whoever does not wait for this one will have gone on
    assert facts() == before
    CALLS.append(before)

LISTENING = []

@hookimpl
async def gns3_listening(server):
    LISTENING.append("gns3_listening")

@hookimpl
async def gns3_project_opened(project):
    await observe("gns3_project_opened", project)

@hookimpl
async def gns3_project_updated(project):
    await observe("gns3_project_updated", project)

@hookimpl
async def gns3_project_closing(project):
    await observe("gns3_project_closing", project)

@hookimpl
async def gns3_project_closed(project):
    await observe("gns3_project_closed", project)

@hookimpl
async def gns3_project_committed(project):
    await observe("gns3_project_committed", project)
"""


async def test_hooks_are_called_in_order_and_at_their_moments(gns3_serving, faulty_plugin):
    """Every hook, over the life of a server and the start of the next one."""
    point = faulty_plugin(RECORDER, name="toy", source="toy_emulator.py")
    async with gns3_serving(plugins=[point]) as server:
        recorder = importlib.import_module(point.value)
        client, calls, listening = server.client, recorder.CALLS, recorder.LISTENING

        async def told_that_it_listens():
            return len(listening) == 1

        # Nobody waits for that one, so it has no place in the order of the others.
        await until(told_that_it_listens)
        called_at_start = list(calls)
        for name in ("closed-one", "deleted-one", "left-one"):
            project = (await client.post("/v1/projects", {"name": name})).json["project_id"]
            path = f"/v1/projects/{project}"
            toy = (await client.post(f"{path}/toy/vms", {"name": "toy"})).json["vm_id"]
            assert (await client.post(f"{path}/toy/vms/{toy}/start")).status == 204
            if name == "closed-one":
                await client.request("PUT", path, {"name": "renamed"})
                await server.running.server.projects.commit(
                    server.running.server.projects.get(project)
                )
                assert (await client.post(f"{path}/close")).status == 204
            elif name == "deleted-one":
                assert (await client.delete(path)).status == 204
            # Opening what is open calls nobody.
            elif (await client.post("/v1/projects", {"project_id": project})).status != 201:
                pytest.fail("it is open and cannot be opened")
        calls.append("the server stops")
    calls.append("the next server starts")
    async with gns3_serving(plugins=[point]):
        calls.append("it listens")
    assert called_at_start == [
        "gns3_config_schema",
        "gns3_node_types",
        "gns3_nio_types",
        "gns3_routes",
        "gns3_lifespan",
    ]
    assert calls == [
        *called_at_start,
        "gns3_project_opened closed-one open there",
        "gns3_project_updated renamed open there started",
        "gns3_project_committed renamed open there started",
        "gns3_project_closing renamed open there started",
        "gns3_project_closed renamed closed there stopped",
        "gns3_project_opened deleted-one open there",
        "gns3_project_closing deleted-one open there started",
        "gns3_project_closed deleted-one closed gone stopped",
        "gns3_project_opened left-one open there",
        "the server stops",
        "gns3_project_closing left-one open there started",
        "gns3_project_closed left-one closed there stopped",
        "gns3_lifespan ends",
        "the next server starts",
        *called_at_start,
        "gns3_project_opened left-one open there stopped",
        "it listens",
        "gns3_project_closing left-one open there stopped",
        "gns3_project_closed left-one closed there stopped",
        "gns3_lifespan ends",
    ]
    # A hook that is added must be added here; that of nodes, which nobody waits for, has an
    # observer of its own (test_plugin_api).
    called = {call.split()[0] for call in [*calls, *listening] if call.startswith("gns3_")}
    assert called == set(HOOKS) - {"gns3_node_event"}


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_documents_when_it_is_called_and_each_argument(name):
    function = getattr(hookspecs, name)
    text = inspect.getdoc(function)
    assert text is not None
    for argument in inspect.signature(function).parameters:
        assert f":param {argument}:" in text
    assert ":returns:" in text or inspect.iscoroutinefunction(function)
    assert "Awaited" in text or not inspect.iscoroutinefunction(function)


def test_the_manual_renders_every_hook(request):
    page = (request.config.rootpath / "docs" / "hooks.rst").read_text()
    # The one directive takes in every function of the module that has a docstring.
    assert ".. automodule:: gns3server.hookspecs\n   :members:\n" in page
    assert {
        name for name in HOOKS if vars(hookspecs)[name].__module__ != hookspecs.__name__
    } == set()


@pytest.fixture
def run_with_plugin(install_plugins, tmp_path):
    """Runs ``gns3server`` as a process that finds one more installed plugin."""
    site = tmp_path / "site"
    found_at = install_plugins(site, "toy-dist", "1.2", mine="toy_installed")

    def run(source, *arguments):
        (site / "toy_installed.py").write_text(source)
        environ = {name: value for name, value in os.environ.items() if "GNS3" not in name}
        environ.update(PYTHONPATH=found_at, HOME=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
        return subprocess.run(
            [sys.executable, "-m", "gns3server", *arguments],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run


FAILS = "from gns3server.plugin import hookimpl\n" + hook(
    "gns3_node_types", "config", "raise OSError('toy fault')"
)


def test_the_plugins_command_shows_the_traceback_of_a_failure_and_exits_with_1(run_with_plugin):
    done = run_with_plugin(FAILS, "plugins")
    assert (done.returncode, done.stderr) == (1, "")
    assert "mine 1.2 (toy-dist): failed\n" in done.stdout
    assert "failed in gns3_node_types:\nTraceback (most recent call last):\n" in done.stdout
    assert "raise OSError('toy fault')\nOSError: toy fault\n" in done.stdout


def test_the_plugins_command_shows_what_a_plugin_offers_and_exits_with_0(run_with_plugin, request):
    source = (request.config.rootpath / "tests" / "toys" / "toy_plugin.py").read_text()
    done = run_with_plugin(source, "plugins")
    assert (done.returncode, done.stderr) == (0, "")
    able = "they need no program on this machine"
    mine = done.stdout.partition("mine 1.2 (toy-dist): ")[2]
    assert mine.startswith(f"ok\n    node type: mine: {able}\n    nio type: nio_mine\n")
    assert "    route: GET /v1/number\n" in mine


def test_a_strict_server_does_not_start_and_says_why_in_one_line(run_with_plugin):
    done = run_with_plugin(FAILS, "--strict-plugins", "--port", "0")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("\n") <= 2
    assert "the server cannot run: plugin mine: gns3_node_types: OSError: toy fault" in done.stdout
