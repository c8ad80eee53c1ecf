"""The plugin host alone: what it takes from plugins, and what it refuses."""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from gns3server.http.application import CORE_ROUTES
from gns3server.nodes.registry import Registry
from gns3server.plugin_host.host import PluginFailed, PluginHost
from gns3server.plugin_host.plugin import shipped_distributions
from gns3server.settings.schema import Settings
from gns3server.settings.server import ServerSettings

SETTINGS = Settings(server=ServerSettings())


@pytest.fixture
def make_host():
    """Makes a host that has loaded and asked plugins, and the registry that it filled."""

    def make(*points, settings=SETTINGS, **options):
        host, registry = PluginHost(settings, **options), Registry()
        host.load(points)
        host.gather(registry, CORE_ROUTES)
        return host, registry

    return make


def hook(name, body, arguments=""):
    """The source of a hook."""
    return f"@hookimpl\ndef {name}({arguments}):\n    {body}\n"


def async_hook(name, body, arguments=""):
    """The source of a hook that is a coroutine function."""
    return hook(name, body, arguments).replace("\ndef", "\nasync def")


def test_a_good_plugin_is_installed_with_all_that_it_offers(make_host, faulty_plugin):
    host, registry = make_host(faulty_plugin())
    assert list(registry.node_types) == ["mine"]
    assert list(registry.nio_types) == ["nio_mine"]
    # Ten standard routes of the node type, and the plugin's own.
    assert len(host.routes()) == 11
    assert {route.plugin for route in host.routes()} == {"mine"}
    (report,) = host.reports()
    assert (report["status"], report["phase"], report["message"]) == ("ok", None, None)
    assert len(report["hooks"]) == 9
    assert host.failures == {}


@pytest.mark.parametrize(
    ("phase", "fault", "message"),
    [
        ("import", "raise ImportError('no such thing')", "ImportError: no such thing"),
        ("import", "import no_module_of_this_name", "No module named"),
        ("import", "raise SystemExit(3)", "it raised SystemExit: 3"),
        ("import", "raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
        ("import", "def (", "SyntaxError"),
        (
            "registration",
            hook("gns3_nod_types", "return []"),
            "there is no hook 'gns3_nod_types': did you mean 'gns3_node_types'?",
        ),
        (
            "registration",
            hook("gns3_node_types", "return []", "confg"),
            "gns3_node_types takes 'confg', which is not an argument of that hook: it has config",
        ),
        (
            "registration",
            "def gns3_node_types():\n    return []\n",
            "gns3_node_types is named as a hook but not marked with @hookimpl",
        ),
        (
            "registration",
            async_hook("gns3_routes", "return []"),
            "gns3_routes is written with async def, but nobody awaits it",
        ),
        (
            "registration",
            async_hook("gns3_lifespan", "yield", "server"),
            "nobody awaits it: write it with def, or with @asynccontextmanager",
        ),
        (
            "registration",
            hook("gns3_project_opened", "pass", "project"),
            "gns3_project_opened is awaited: write it with async def",
        ),
        ("gns3_config_schema", hook("gns3_config_schema", "raise SystemExit(3)"), "SystemExit"),
        ("gns3_config_schema", hook("gns3_config_schema", "1 / 0"), "ZeroDivisionError"),
        (
            "gns3_config_schema",
            hook("gns3_config_schema", "return 5"),
            "the configuration has 5 where a schema class belongs",
        ),
        (
            "gns3_config_schema",
            "class Bad(Schema):\n    def __init__(self): raise OSError('toy fault')\n"
            + hook("gns3_config_schema", "return Bad"),
            "no Bad can be made: toy fault",
        ),
        ("gns3_node_types", hook("gns3_node_types", "1 / 0"), "ZeroDivisionError"),
        ("gns3_node_types", hook("gns3_node_types", "yield 1 / 0"), "ZeroDivisionError"),
        ("gns3_node_types", hook("gns3_node_types", "return 5"), "5: return a list"),
        (
            "gns3_node_types",
            "async def later(): return []\n" + hook("gns3_node_types", "return later()"),
            "which nobody awaits: return a list",
        ),
        (
            "gns3_node_types",
            hook("gns3_node_types", "while True: yield MINE"),
            "gns3_node_types returned more than 1000 items",
        ),
        ("gns3_node_types", hook("gns3_node_types", "return 'mine'"), "not a NodeType"),
        ("gns3_node_types", hook("gns3_node_types", "return [NIO_MINE]"), "not a NodeType"),
        ("gns3_node_types", hook("gns3_node_types", "return [MINE, MINE]"), "is offered twice"),
        ("gns3_nio_types", hook("gns3_nio_types", "1 / 0"), "ZeroDivisionError"),
        ("gns3_nio_types", hook("gns3_nio_types", "return [MINE]"), "not a NioType"),
        ("gns3_nio_types", hook("gns3_nio_types", "return [NIO_MINE] * 2"), "is offered twice"),
        ("gns3_routes", hook("gns3_routes", "1 / 0"), "ZeroDivisionError"),
        ("gns3_routes", hook("gns3_routes", "return ['/v1/mine']"), "not a Route"),
    ],
)
def test_a_failure_is_recorded_with_phase_and_message_and_nothing_is_installed(
    make_host, faulty_plugin, phase, fault, message
):
    host, registry = make_host(faulty_plugin(fault))
    (report,) = host.reports()
    assert (report["status"], report["phase"]) == ("failed", phase)
    assert message in report["message"]
    assert "Traceback" not in report["message"]
    assert "Traceback" in host.plugins[0].trace
    assert (registry.node_types, registry.nio_types, host.routes()) == ({}, {}, [])
    assert report["node_types"] == report["nio_types"] == report["routes"] == []
    reason = report["message"].partition("Error: ")[2] or report["message"]
    assert host.failures["mine"].reason == f"{reason} (in {phase})"


BAD_CLASSES = """
from gns3server.plugin import LaunchSpec, ProcessNode, TextFile

async def no_machine(): ...

class Half(ProcessNode):
    async def start(self): ...

class Blocking(Node):
    def stop(self): ...

class Above(Node):
    async def prepare(self, values): ...

class Below(Above):
    def prepare(self, values): ...

class Texted(ProcessNode):
    async def launch_spec(self):
        return LaunchSpec(argv="true --now", cwd="/")

class Formatted(ProcessNode):
    async def launch_spec(self):
        import gns3server.plugin as plugin
        return plugin.LaunchSpec(cwd="/", argv=f"true {self.name}")

class Broken(MineObjectSchema):
    def __init__(self): raise OSError("toy fault")
"""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("name='mine/../yours'", "'mine/../yours' cannot be part of a path: let it begin with"),
        ("name='Mine'", "cannot be part of a path"),
        ("name=5", "5 cannot be part of a path"),
        ("title=None", "None as its title, which is not text"),
        ("name='mine-/'", "cannot be part of a path"),
        ("examine=print", "its examine is awaited: write it with async def"),
        ("examine=no_machine", "its examine cannot be called: let it take the machine"),
        ("programs=5", "5 as its programs: write a mapping"),
        ("accelerators=5", "5 as its accelerators: write a mapping"),
        (
            "programs={'all': print}",
            "what lists its programs 'all' is awaited: write it",
        ),
        ("lifecycle='sometimes'", "the lifecycle 'sometimes': write one of startable, always_on"),
        ("lifecycle='always_on', capabilities={'suspend'}", "is always on and cannot be suspended"),
        ("lifecycle='always_on', capabilities={'reset'}", "its class has no method reset"),
        ("console=None", "None as its console: write True or False"),
        ("capabilities={'fly'}", "the capability 'fly', which the server does not know"),
        ("node_class=MineObjectSchema", "a subclass of Node belongs"),
        ("node_class=None", "a subclass of Node belongs"),
        ("node_class=ProcessNode", "its class ProcessNode lacks launch_spec: write it"),
        (
            "node_class=Texted",
            "Texted.launch_spec has 'true --now' as its argv, a single text: give",
        ),
        (
            "node_class=Formatted",
            "has f'true {self.name}' as its argv, a single text: give its parts",
        ),
        ("node_class=Half", "its class Half lacks launch_spec: write it"),
        ("node_class=Blocking", "the server awaits Blocking.stop: write it with async def"),
        ("node_class=Below", "the server awaits Below.prepare: write it with async def"),
        ("create_schema=MineObjectSchema", "a subclass of NodeCreateSchema belongs"),
        ("update_schema=Schema", "a subclass of NodeUpdateSchema belongs"),
        ("object_schema=MineObjectSchema()", "a subclass of NodeObjectSchema belongs"),
        ("object_schema=Broken", "no Broken can be made: toy fault"),
        ("nio_types='nio_mine'", "nio_types is 'nio_mine', a text; write ('nio_mine',) if"),
        ("nio_types=NIO_MINE", "where a tuple belongs"),
        ("nio_types=(NIO_MINE,)", "in its nio_types is not of type str"),
        ("capabilities='suspend'", "capabilities is 'suspend', a text"),
        ("capabilities={'suspnd'}", "the server does not know: did you mean 'suspend'?"),
        ("image_kinds=('disk',)", "'disk' in its image_kinds is not of type ImageKind"),
        ("text_files=(TextFile(name='../x', text='name'),)", "'../x' in its text_files is no"),
        ("text_files=(TextFile(name='..', text='name'),)", "'..' in its text_files is not a plain"),
        (
            "text_files=(TextFile(name=5, text='name'),)",
            "5 in its text_files is not a plain",
        ),
        (
            "text_files=(TextFile(name='x', text='nome'),)",
            "the field 'nome', which its object",
        ),
        ("text_files=(TextFile(name='x', text='name', path='pat'),)", "the field 'pat', which"),
        ("text_files=('boot.cfg',)", "'boot.cfg' in its text_files is not of type TextFile"),
        ("udp_companions=9", "udp_companions is 9 where a tuple belongs"),
        ("udp_companions=('9',)", "'9' in its udp_companions is not of type int"),
        ("udp_companions=(0,)", "0 in its udp_companions is not a distance between two ports"),
        ("udp_companions=(65535,)", "1 to 65534"),
        ("udp_companions=(True,)", "True in its udp_companions is not a distance"),
        ("adapters=0", "has 0 adapters: write a number, at least 1, or None"),
        ("adapters='2'", "has '2' adapters"),
        ("ports=-1", "has -1 ports per adapter"),
        ("ports=None", "has None ports per adapter"),
        ("numbers=range(0)", "range(0, 0) as its numbers: write a range of 1 to 65536 numbers"),
        ("numbers=range(10**9)", "write a range of 1 to 65536 numbers"),
        ("numbers=range(-1, 5)", "none below 0"),
        ("numbers=[1, 2]", "[1, 2] as its numbers: write a range, or None"),
    ],
)
def test_a_node_type_that_could_not_be_used_is_refused(make_host, faulty_plugin, values, message):
    fault = BAD_CLASSES + hook(
        "gns3_node_types", f"import dataclasses; return [dataclasses.replace(MINE, {values})]"
    )
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_node_types"
    assert message in host.plugins[0].message
    assert registry.node_types == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("name='NIO'", "the NIO type name 'NIO' cannot be used"),
        ("schema=5", "5 where a schema class belongs"),
        ("schema=NodeType", "where a schema class belongs"),
        (
            "schema=Schema.from_dict({'type': fields.String()})",
            "leave the field 'type' out of its schema",
        ),
        ("local_udp_port='lprt'", "but no field of that name: did you mean 'lport'?"),
        (
            "check=lambda values, machine: None",
            "its check is awaited: write it with async def",
        ),
        ("check=never_called", "its check cannot be called: let it take the values and the machi"),
    ],
)
def test_a_nio_type_that_could_not_be_used_is_refused(make_host, faulty_plugin, values, message):
    fault = "async def never_called(): ...\n" + hook(
        "gns3_nio_types", f"import dataclasses; return [dataclasses.replace(NIO_MINE, {values})]"
    )
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_nio_types"
    assert message in host.plugins[0].message
    assert (registry.node_types, registry.nio_types) == ({}, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("path='mine'", "does not begin with a word of its own, as /v1/ or /web/ do"),
        ("path='/{any}'", "does not begin with a word of its own"),
        ("path='//mine'", "does not begin with a word of its own"),
        ("path='/'", "does not begin with a word of its own"),
        ("path='/docs/mine'", "paths below /docs belong to the server: choose another"),
        ("path='/notifications/mine'", "paths below /notifications belong to the server"),
        ("path='/v1/projects'", "GET /v1/projects exists already: the server has it"),
        ("path='/v1/projects/{id}', method='DELETE'", "exists already"),
        ("path='/v1/projects/{p}/mine/vms'", "exists already"),
        ("path='/v1/{'", "braces outside of a parameter"),
        ("path='/v1/{n:[}'", "cannot be installed: '[' is not an expression"),
        ("path='/v1/{n}/{n}'", "cannot be installed: 'n' is not a name, or is there twice"),
        ("path='/v1/{9}'", "cannot be installed: '9' is not a name"),
        ("path='/v1/{n:(?P<m>a)}'", "cannot be installed: the expression of 'n' has groups"),
        ("path='/v1/{n:a{3}}'", "braces outside of a parameter, or in the expression of one"),
        ("path='/v1/{n:[a-z]{3}}'", "braces outside of a parameter, or in the expression of one"),
        ("method='GET /'", "there is no method 'GET /', only DELETE, GET, PATCH, POST, PUT"),
        ("method='get'", "there is no method 'get'"),
        ("method='FETCH'", "there is no method 'FETCH'"),
        ("answer=5", "5 where a schema class belongs"),
        ("body=NumberSchema()", "where a schema class belongs"),
        ("body=OneOf('type', {})", "the choices of a OneOf are {}, not a function"),
        ("body=OneOf(5, dict)", "5 as its field of a OneOf, which is not text"),
        ("handler=None", "None where a function belongs"),
        ("handler=print", "its handler print is awaited: write it with async def"),
        ("handler=NumberSchema", "its handler NumberSchema is awaited"),
        ("handler=no_call", "its handler no_call must take one argument, the call"),
        ("summary=None", "None as its summary, which is not text"),
        ("tag=5", "5 as its tag, which is not text"),
        ("status=99", "99 as its status: one of 200 to 399 is possible"),
        ("status='200'", "'200' as its status"),
        ("status=204, answer=NumberSchema", "the status 204, which has no body, and an answer"),
        ("errors={'409': 'Never'}", "as its errors: write {status: reason}"),
        ("errors={409: None}", "as its errors: write {status: reason}"),
        ("errors=[409]", "as its errors: write {status: reason}"),
        ("errors={200: 'Never'}", "200 among its errors: statuses are 400 to 599"),
        ("query=('since',)", "as its query: write {name: meaning}"),
        ("limit=0", "0 as its limit: write seconds, more than 0"),
        ("limit='60'", "'60' as its limit"),
        ("page=5", "5 as its page, which is not text"),
        ("page='A page'", "is a page, to which a link leads: say stream=True"),
        ("limit=5, stream=True", "takes as long as its stream does: leave out its limit"),
        ("scope='project'", "'project' where a Scope belongs"),
        ("scope=Scope.PROJECT", "must name ['project_id']"),
        ("scope=Scope.NODE, path='/v1/projects/{project_id}/x'", "must name ['vm_id']"),
        (
            "scope=Scope.NODE, path='/v1/projects/{project_id}/x/{vm_id}'",
            "of scope NODE and must say node_type",
        ),
        (
            "scope=Scope.NODE, node_type=None, path='/v1/projects/{project_id}/x/{node_id}'",
            "must name ['vm_id']",
        ),
        (
            "scope=Scope.FIND_NODE, node_parameter='n', path='/v1/projects/{project_id}/x'",
            "of scope FIND_NODE and must name ['n']",
        ),
        (
            "scope=Scope.FIND_NODE, node_type=5, path='/v1/projects/{project_id}/x/{vm_id}'",
            "must say node_type, the type of its nodes, or None",
        ),
        (
            "**NODE, node_type=None, closed_too=True",
            "for closed projects as well, which have no node",
        ),
        (
            "unknown_too=True, scope=Scope.PROJECT, path='/v1/projects/{project_id}/x'",
            "for projects that are not on record, which only a route for closed ones can be",
        ),
        ("query={'word': 5}", "5 as 'word' in its query: write its meaning, or a QueryParameter"),
        ("query={'word': QueryParameter(None)}", "None as its description of 'word' in its query"),
        ("query={'word': QueryParameter('x', kind='float')}", "of the kind 'float', neither"),
        ("query={'word': QueryParameter('x', default='1')}", "'1' cannot be the default of"),
        ("query={'word': QueryParameter('x', default=-1)}", "-1 cannot be the default of 'word'"),
        ("query={'word': QueryParameter('x', kind='text', default=1)}", "1 cannot be the default"),
        ("raw=True, body_types='image/png'", "body_types is 'image/png', a text; write"),
        ("raw=True, body_types=('png',)", "'png' in its body_types is not a media type"),
        ("raw=True, body_types=('image/*',)", "'image/*' in its body_types is not a media type"),
        ("stream=True, answer_types=('Image/PNG',)", "in its answer_types is not a media type"),
        ("body_types=('image/png',)", "which only a raw route heeds: say raw=True"),
        ("answer_types=('image/png',)", "which only a stream route heeds: say stream=True"),
        ("endless=True", "endless, which only a stream can be: say stream=True"),
        (
            "endless=True, stream=True, scope=Scope.PROJECT, path='/v1/projects/{project_id}/x'",
            "never ends and would hold its project or node forever",
        ),
        (
            "websocket=True, scope=Scope.WHOLE_PROJECT, path='/v1/projects/{project_id}/x'",
            "never ends and would hold its project or node forever",
        ),
        ("upgrade=show", "has an upgrade, which only an endless stream with the method GET"),
        (
            "upgrade=show, stream=True, endless=True, method='POST'",
            "has an upgrade, which only an endless stream with the method GET",
        ),
        ("upgrade=5, stream=True, endless=True", "has 5 where a function belongs"),
        ("websocket=True, method='POST'", "is a websocket, which begins with GET"),
        ("websocket=True, stream=True", "is a websocket: leave out stream, raw, body and answer"),
        ("websocket=True, answer=NumberSchema", "is a websocket: leave out stream"),
        ("websocket=True, limit=5", "takes as long as its stream does: leave out its limit"),
    ],
)
def test_a_route_that_could_not_be_served_is_refused(make_host, faulty_plugin, values, message):
    fault = f"""
from gns3server.plugin import OneOf, QueryParameter, Scope

async def show(call): ...

async def no_call(): ...

ROUTE = dict(method="GET", path="/v1/mine", handler=show, summary="")
NODE = dict(scope=Scope.FIND_NODE, path="/v1/projects/{{project_id}}/x/{{vm_id}}")
@hookimpl
def gns3_routes():
    return [Route(**{{**ROUTE, **dict({values})}})]
"""
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_routes"
    assert message in host.plugins[0].message
    assert (registry.node_types, host.routes()) == ({}, [])


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        ("StaticFiles(prefix='/web/', package='toy_pages', folder='x')", "without a slash at its"),
        ("StaticFiles(prefix='/', package='toy_pages', folder='x')", "without a slash at its end"),
        ("StaticFiles(prefix='/{any}', package='json', folder='x')", "without parameters"),
        ("StaticFiles(prefix='/../x', package='json', folder='x')", "write a path without"),
        ("StaticFiles(prefix=5, package='json', folder='x')", "write a path without parameters"),
        (
            "StaticFiles(prefix='/docs', package='web_pages', folder='static')",
            "belong to the server",
        ),
        ("StaticFiles(prefix='/web', package='no_such', folder='x')", "no package 'no_such'"),
        ("StaticFiles(prefix='/web', package='', folder='x')", "there is no package ''"),
        (
            "StaticFiles(prefix='/web', package=5, folder='x')",
            "5 as its package, which is not text",
        ),
        ("StaticFiles(prefix='/web', package='json', folder='x')", "has no folder 'x': name it in"),
        (
            "StaticFiles(prefix='/web', package='json', folder='')",
            "'' is not a folder in",
        ),
        (
            "StaticFiles(prefix='/web', package='json', folder='/tmp')",
            "'/tmp' is not a folder in",
        ),
        (
            "StaticFiles(prefix='/web', package='json', folder='../x')",
            "'../x' is not a folder in",
        ),
        ("ErrorShape(prefix='/mine/', render=shape)", "without a slash at its end"),
        ("ErrorShape(prefix='/v1/mine', render=shape)", "errors below /v1 have one shape for all"),
        ("ErrorShape(prefix='/other', render=shape)", "the plugin has no route there"),
        ("ErrorShape(prefix='/mine', render=5)", "is called, and not awaited: write it with def"),
        ("ErrorShape(prefix='/mine', render=late)", "is called, and not awaited: write it with"),
        ("ErrorShape(prefix='/mine', render=len)", "must take two arguments, the error and the"),
        ("ErrorShape(prefix='/mine', render=shape, schema=5)", "5 where a schema class belongs"),
        ("*[ErrorShape(prefix='/mine', render=shape)] * 2", "is offered twice"),
    ],
)
def test_files_and_shapes_of_errors_that_could_not_be_used_are_refused(
    make_host, faulty_plugin, offered, message
):
    fault = f"""
from gns3server.plugin import ErrorShape, StaticFiles

async def show(call): ...
async def late(error, request): ...
def shape(error, request): ...

@hookimpl
def gns3_routes():
    return [Route(method="GET", path="/mine/x", handler=show, summary=""), {offered}]
"""
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_routes"
    assert message in host.plugins[0].message
    assert (registry.node_types, host.routes(), host.error_shapes()) == ({}, [], [])


def test_a_family_of_paths_is_one_plugins(make_host, faulty_plugin):
    points = [
        faulty_plugin(PLAIN + ROUTES.format(routes=[("GET", path)]), name=name)
        for name, path in (
            ("first", "/mine/a"),
            ("second", "/mine/b"),
            ("third", "/mine-too/b"),
            ("fourth", "/v1/mine/a"),
            ("fifth", "/v1/mine/b"),
        )
    ]
    host, _ = make_host(*points)
    assert [plugin.name for plugin in host.plugins if plugin.failed] == ["second"]
    (second,) = [plugin for plugin in host.plugins if plugin.failed]
    assert second.message == (
        "paths below /mine belong to the plugin 'first': choose another beginning, or /v1/, "
        "which all may use"
    )
    # The first one answers below it.
    assert not host.failures["second"].would_answer("/mine/other")


def test_a_failed_plugin_would_have_answered_for_its_whole_family(make_host, faulty_plugin):
    routes = [("GET", "/mine/a"), ("GET", "/v1/projects")]
    host, _ = make_host(faulty_plugin(PLAIN + ROUTES.format(routes=routes), name="other"))
    failed = host.failures["other"]
    assert failed.would_answer("/mine/anything")
    assert failed.would_answer("/mine")
    assert not failed.would_answer("/mines")
    assert not failed.would_answer("/v1/anything")


GOOD_HANDLERS = """
import functools

async def show(call): ...
async def show_more(number, call): ...

class Shows:
    async def __call__(self, call): ...
    async def method(self, call): ...

@functools.wraps(show)
def wrapped(call):
    return show(call)

@hookimpl
def gns3_routes():
    return [
        Route(method="GET", path=f"/v1/mine/{number}", handler=handler, summary="")
        for number, handler in enumerate(
            [functools.partial(show_more, 5), Shows(), Shows().method, wrapped]
        )
    ]
"""


def test_whatever_is_awaited_when_it_is_called_may_be_a_handler(make_host, faulty_plugin):
    host, _ = make_host(faulty_plugin(GOOD_HANDLERS))
    assert host.plugins[0].message is None
    assert [route.path for route in host.routes()][10:] == [f"/v1/mine/{n}" for n in range(4)]


def test_a_node_type_may_be_called_otherwise_than_its_plugin(make_host, faulty_plugin):
    more = "import dataclasses\nMINE = dataclasses.replace(MINE, name='ethernet_switch')\n"
    host, registry = make_host(faulty_plugin(more))
    assert list(registry.node_types) == ["ethernet_switch"]
    assert host.failures == {}


MORE = "import dataclasses\nMINE = dataclasses.replace(MINE, name='shared')\n"
CLASHES = {
    "node_types": hook("gns3_routes", "return []") + hook("gns3_nio_types", "return []"),
    "nio_types": hook("gns3_node_types", "return []") + hook("gns3_routes", "return []"),
    "routes": hook("gns3_node_types", "return []") + hook("gns3_nio_types", "return []"),
}
"""What leaves a plugin with one thing that it has in common with another, by the hook's name."""


@pytest.mark.parametrize("part", CLASHES)
def test_of_two_plugins_that_clash_the_second_is_out_of_service(make_host, faulty_plugin, part):
    first = faulty_plugin(MORE)
    second = faulty_plugin(MORE + CLASHES[part], name="other")
    host, registry = make_host(second, first)
    assert [plugin.phase for plugin in host.plugins] == [None, f"gns3_{part}"]
    assert "exists already: " in host.plugins[1].message
    assert "the plugin 'mine'" in host.plugins[1].message
    assert (list(registry.node_types), list(registry.nio_types)) == (["shared"], ["nio_mine"])
    assert {route.plugin for route in host.routes()} == {"mine"}
    # What the one has that works is not said to be missing.
    assert not host.failures["other"].would_answer("/v1/projects/x/shared/vms")
    assert host.failures["other"].would_answer("/v1/projects/x/other/vms")


@pytest.mark.parametrize("distribution", ["gns3server-other", "GNS3server_Other"])
@pytest.mark.parametrize("part", CLASHES)
def test_the_plugin_whose_distribution_is_named_for_it_keeps_what_both_have(
    make_host, faulty_plugin, as_distribution, part, distribution
):
    first = as_distribution(faulty_plugin(MORE + CLASHES[part]), "gns3server-more")
    second = as_distribution(faulty_plugin(MORE, name="other"), distribution)
    host, registry = make_host(first, second)
    assert [plugin.phase for plugin in host.plugins] == [f"gns3_{part}", None]
    assert "the plugin 'other'" in host.plugins[0].message
    assert (list(registry.node_types), list(registry.nio_types)) == (["shared"], ["nio_mine"])


@pytest.mark.parametrize("part", CLASHES)
@pytest.mark.parametrize("name", ["a-newcomer", "newcomer"])
def test_what_the_server_comes_with_loses_to_no_newcomer(
    make_host, faulty_plugin, as_distribution, part, name
):
    shipped = as_distribution(faulty_plugin(MORE), "gns3server_Shipped")
    newcomer = as_distribution(faulty_plugin(MORE + CLASHES[part], name=name), f"gns3server-{name}")
    host, registry = make_host(newcomer, shipped, shipped=["gns3server-shipped"])
    failed = {plugin.name: plugin.phase for plugin in host.plugins if plugin.failed}
    assert failed == {name: f"gns3_{part}"}
    assert (list(registry.node_types), list(registry.nio_types)) == (["shared"], ["nio_mine"])


def test_of_two_plugins_of_one_name_the_one_that_the_server_comes_with_is_used(
    make_host, faulty_plugin, as_distribution
):
    points = sorted([faulty_plugin(), faulty_plugin()], key=lambda point: point.value)
    names = ("gns3server-mine", "shipped")
    found = [as_distribution(*each) for each in zip(points, names, strict=True)]
    host, _ = make_host(*found, shipped=["shipped"])
    assert [(plugin.distribution, plugin.failed) for plugin in host.plugins] == [
        ("shipped", False),
        ("gns3server-mine", True),
    ]


def test_what_the_server_comes_with_is_read_from_its_metadata():
    requirements = [
        "aiohttp<4,>=3.14",
        'pytest<10,>=9; extra == "testing"',
        'gns3server-udp; extra == "plugins"',
        "GNS3server_Vpcs>=0.1; extra=='plugins'",
    ]
    assert shipped_distributions(requirements) == {"gns3server-udp", "gns3server-vpcs"}


@pytest.fixture
def as_distribution(install_plugins, tmp_path):
    """Has an entry point found as an installed one of a distribution."""

    def find(point, distribution):
        site = tmp_path / distribution
        install_plugins(site, distribution, **{point.name: point.value})
        (found,) = entry_points_at(site)
        return found

    return find


def entry_points_at(site):
    """The plugins that are installed in a directory."""
    for distribution in distributions(path=[str(site)]):
        yield from distribution.entry_points


ROUTES = """
async def show(call): ...

@hookimpl
def gns3_routes():
    return [
        Route(method=method, path=path, handler=show, summary="")
        for method, path in {routes!r}
    ]
"""
PLAIN = "".join(hook(f"gns3_{name}", "return []") for name in ("node_types", "nio_types"))


@pytest.mark.parametrize(
    ("route", "message"),
    [
        # All of the server's own, and so of everybody's, would be theirs.
        (("GET", "/v1/projects/{project_id}/{rest:.*}"), "meets GET /v1/projects/{project_id}/"),
        (("POST", "/v1/projects/{project_id}/{action}"), "of the server: both"),
        (("GET", "/v1/{rest:.+}"), "meets GET /v1/"),
        # What is meant for ids takes them from others.
        (("PUT", "/v1/projects/{name:[0-9a-f-]+}{_:x?}"), "meets PUT /v1/projects/{project_id}"),
    ],
)
def test_a_route_that_meets_one_of_the_servers_is_refused(make_host, faulty_plugin, route, message):
    host, _ = make_host(faulty_plugin(PLAIN + ROUTES.format(routes=[route])))
    assert host.plugins[0].phase == "gns3_routes"
    assert message in host.plugins[0].message


@pytest.mark.parametrize(
    "routes",
    [
        [("POST", "/v1/projects/import"), ("GET", "/v1/projects/import")],
        [("GET", "/v1/mine/first"), ("GET", "/v1/mine/{name}")],
        [("GET", r"/v1/mine/n{number:\d+}"), ("GET", "/v1/mine/{name}")],
        [("GET", "/v1/mine/{name}"), ("GET", "/v1/mine/{rest:.+}/x"), ("POST", "/v1/mine/{any}")],
        [("GET", "/v1/mine/{name}.txt"), ("GET", "/v1/mine/{name}.svg")],
        [("GET", "/v1/mine/{way:start|stop}/x"), ("GET", "/v1/mine/up/{way:x|y}")],
    ],
)
def test_routes_may_be_beside_each_other_and_special_ones_before_others(
    make_host, faulty_plugin, routes
):
    host, _ = make_host(faulty_plugin(PLAIN + ROUTES.format(routes=routes)))
    assert host.plugins[0].message is None


@pytest.mark.parametrize(
    "routes",
    [
        [("GET", "/v1/mine/{name}"), ("GET", "/v1/mine/{other}")],
        [("GET", "/v1/mine/{rest:.+}"), ("GET", "/v1/mine/{name}")],
        [("GET", "/v1/mine/{name}/x"), ("GET", r"/v1/mine/n{number:\d+}/x")],
        [("GET", "/v1/mine/{rest:.*}"), ("GET", "/v1/mine/{name}/x")],
    ],
)
def test_a_route_that_would_never_be_asked_is_refused(make_host, faulty_plugin, routes):
    host, _ = make_host(faulty_plugin(PLAIN + ROUTES.format(routes=routes)))
    assert host.plugins[0].phase == "gns3_routes"
    assert routes[1][1] in host.plugins[0].message


@pytest.mark.parametrize("first_name", ["a-wide", "wide"])
def test_a_route_that_swallows_anothers_fails_its_own_plugin_whoever_comes_first(
    make_host, faulty_plugin, first_name
):
    wide = ("POST", "/v1/mine/{rest:.*}")
    narrow = PLAIN + ROUTES.format(routes=[("POST", "/v1/mine/{name}/x"), ("GET", "/v1/mine")])
    points = [
        faulty_plugin(PLAIN + ROUTES.format(routes=[wide]), name=first_name),
        faulty_plugin(narrow),
    ]
    host, _ = make_host(*points)
    failed = {plugin.name: plugin.message for plugin in host.plugins if plugin.failed}
    assert list(failed) == [first_name]
    assert "POST /v1/mine/{rest:.*}" in failed[first_name]
    assert "the plugin 'mine'" in failed[first_name]
    assert [route.path for route in host.routes()] == ["/v1/mine/{name}/x", "/v1/mine"]


def test_of_two_routes_that_have_paths_in_common_the_second_is_refused(make_host, faulty_plugin):
    points = [
        faulty_plugin(PLAIN + ROUTES.format(routes=[("GET", path)]), name=name)
        for name, path in (("first", "/v1/shared/{name}/x"), ("second", "/v1/shared/a.b/{any}"))
    ]
    host, _ = make_host(*points)
    assert [plugin.failed for plugin in host.plugins] == [False, True]
    assert "both would answer to /v1/shared/a.b/x" in host.plugins[1].message


def test_a_misspelt_hook_is_named_and_does_not_spoil_the_next_plugin(make_host, faulty_plugin):
    bad = faulty_plugin(hook("gns3_rutes", "return []"), name="bad")
    host, registry = make_host(bad, faulty_plugin())
    assert "'gns3_rutes'" in host.plugins[0].message
    assert (host.plugins[1].name, host.plugins[1].phase) == ("mine", None)
    assert list(registry.node_types) == ["mine"]


def test_a_plugin_that_hangs_is_given_up(make_host, faulty_plugin):
    released = threading.Event()
    threading.hang_here = released  # type: ignore[attr-defined]
    try:
        for phase, fault in (
            ("import", "import threading; threading.hang_here.wait()"),
            ("gns3_node_types", hook("gns3_node_types", "threading.hang_here.wait()")),
            ("gns3_node_types", hook("gns3_node_types", "yield threading.hang_here.wait()")),
        ):
            point = faulty_plugin(f"import threading\n{fault}")
            host, registry = make_host(point, call_seconds=1)
            assert host.plugins[0].phase == phase
            assert host.plugins[0].message == "it did not return within 1 seconds"
            assert registry.node_types == {}
    finally:
        released.set()
        del threading.hang_here  # type: ignore[attr-defined]


def test_of_two_plugins_of_one_name_the_second_is_refused(make_host, faulty_plugin):
    first, second = sorted([faulty_plugin(), faulty_plugin()], key=lambda point: point.value)
    host, registry = make_host(second, first)
    assert [plugin.phase for plugin in host.plugins] == [None, "discovery"]
    assert "another plugin is called 'mine'" in host.plugins[1].message
    assert list(registry.node_types) == ["mine"]
    # The name works, so that requests under it are not refused.
    assert host.failures == {}


def test_of_two_plugins_of_one_name_the_one_that_works_is_used(make_host, faulty_plugin):
    points = [faulty_plugin("1 / 0"), faulty_plugin("1 / 0"), faulty_plugin()]
    host, registry = make_host(*points)
    assert [plugin.phase for plugin in host.plugins].count(None) == 1
    assert list(registry.node_types) == ["mine"]
    assert host.failures == {}


@pytest.mark.parametrize("name", ["", "Mine", "my mine", "a/b", "9lives", "{x}"])
def test_a_name_that_is_no_path_segment_is_refused(make_host, faulty_plugin, name):
    host, _ = make_host(faulty_plugin(name=name))
    assert host.plugins[0].phase == "registration"
    assert "cannot be part of a path" in host.plugins[0].message


def test_a_wrong_value_in_its_section_puts_a_plugin_out_of_service(make_host, faulty_plugin):
    settings = replace(SETTINGS, flags={"mine": {"number": "many", "other": "ignored"}})
    host, registry = make_host(faulty_plugin(), settings=settings)
    assert host.plugins[0].phase == "configuration"
    assert "[mine] in the settings: number: Not a valid integer" in host.plugins[0].message
    assert registry.node_types == {}


def test_a_plugin_gets_its_section_read_by_its_schema(make_host, faulty_plugin):
    settings = replace(
        SETTINGS,
        said={Path("a.conf"): {"mine": {"number": "7"}}},
        environ={"GNS3_MINE_NUMBER": "8"},
    )
    host, _ = make_host(faulty_plugin(), settings=settings)
    assert dict(host.plugins[0].config) == {"number": 8}
    with pytest.raises(TypeError):
        host.plugins[0].config["number"] = 9


@pytest.mark.parametrize("flag", ["--port", "--mine", "--mine-", "--Mine-x", "--yours-x", "-m"])
def test_an_option_that_is_not_the_plugins_own_is_refused(make_host, faulty_plugin, flag):
    field = f"fields.String(metadata={{'flag': {flag!r}}})"
    fault = f"""
from marshmallow import Schema, fields

@hookimpl
def gns3_config_schema():
    return Schema.from_dict({{"x": {field}}})
"""
    host, _ = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_config_schema"
    assert "begin it with --mine-" in host.plugins[0].message


def test_a_disabled_plugin_is_not_even_imported(make_host, faulty_plugin):
    settings = replace(SETTINGS, server=ServerSettings(disabled_plugins="other, mine"))
    host, registry = make_host(faulty_plugin("1 / 0"), settings=settings, strict=True)
    (report,) = host.reports()
    assert (report["status"], report["phase"]) == ("disabled", None)
    assert (registry.node_types, host.failures) == ({}, {})


@pytest.mark.parametrize("fault", ["1 / 0", hook("gns3_routes", "1 / 0")])
def test_strict_mode_raises_and_names_the_plugin(make_host, faulty_plugin, fault):
    with pytest.raises(PluginFailed, match=r"plugin mine: .*: ZeroDivisionError") as failed:
        make_host(faulty_plugin(fault), strict=True)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


def test_the_report_names_distribution_and_version(install_plugins, tmp_path, monkeypatch):
    install_plugins(tmp_path, "toy-dist", "1.2", toy="toy_emulator")
    monkeypatch.syspath_prepend(tmp_path)
    host = PluginHost(SETTINGS)
    host.load()
    (report,) = [plugin for plugin in host.reports() if plugin["name"] == "toy"]
    assert (report["distribution"], report["version"]) == ("toy-dist", "1.2")
