"""The plugin host alone: what it takes from plugins, and what it refuses."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from gns3server.http.application import CORE_ROUTES
from gns3server.nodes.registry import Registry
from gns3server.plugin_host.host import PluginFailed, PluginHost
from gns3server.settings.schema import ServerSettings, Settings

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
        ("import", "def (", "SyntaxError"),
        ("registration", hook("gns3_nod_types", "return []"), "gns3_nod_types"),
        ("registration", hook("gns3_node_types", "return []", "confg"), "confg"),
        (
            "registration",
            "def gns3_node_types():\n    return []\n",
            "gns3_node_types is named as a hook but not marked with @hookimpl",
        ),
        ("gns3_config_schema", hook("gns3_config_schema", "raise SystemExit(3)"), "SystemExit"),
        ("gns3_config_schema", hook("gns3_config_schema", "1 / 0"), "ZeroDivisionError"),
        ("configuration", hook("gns3_config_schema", "return 5"), "5 is no schema class"),
        ("gns3_node_types", hook("gns3_node_types", "1 / 0"), "ZeroDivisionError"),
        ("gns3_node_types", hook("gns3_node_types", "yield 1 / 0"), "ZeroDivisionError"),
        ("gns3_node_types", hook("gns3_node_types", "return 5"), "not iterable"),
        ("gns3_node_types", hook("gns3_node_types", "return 'mine'"), "no NodeType"),
        ("gns3_node_types", hook("gns3_node_types", "return [NIO_MINE]"), "no NodeType"),
        ("gns3_node_types", hook("gns3_node_types", "return [MINE, MINE]"), "exists already"),
        ("gns3_nio_types", hook("gns3_nio_types", "1 / 0"), "ZeroDivisionError"),
        ("gns3_nio_types", hook("gns3_nio_types", "return [MINE]"), "no NioType"),
        ("gns3_nio_types", hook("gns3_nio_types", "return [NIO_MINE] * 2"), "exists already"),
        ("gns3_routes", hook("gns3_routes", "1 / 0"), "ZeroDivisionError"),
        ("gns3_routes", hook("gns3_routes", "return ['/v1/mine']"), "no Route"),
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
    assert host.failures == {"mine": f"{report['message']} (in {phase})"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("name='mine/../yours'", "cannot be part of a path"),
        ("lifecycle='sometimes'", "must be 'startable' or 'always_on'"),
        ("capabilities={'fly'}", "capabilities that this server does not know: {'fly'}"),
        ("capabilities='suspend'", "capabilities that this server does not know: 'suspend'"),
        ("name='mine-/'", "cannot be part of a path"),
        ("node_class=MineObjectSchema", "a subclass of Node belongs"),
        ("node_class=None", "a subclass of Node belongs"),
        ("create_schema=MineObjectSchema", "a subclass of NodeCreateSchema belongs"),
        ("update_schema=Schema", "a subclass of NodeUpdateSchema belongs"),
        ("object_schema=MineObjectSchema()", "a subclass of NodeObjectSchema belongs"),
    ],
)
def test_a_node_type_that_could_not_be_used_is_refused(make_host, faulty_plugin, values, message):
    fault = hook(
        "gns3_node_types", f"import dataclasses; return [dataclasses.replace(MINE, {values})]"
    )
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_node_types"
    assert message in host.plugins[0].message
    assert registry.node_types == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [("schema=5", "no schema class"), ("local_udp_port='rport'", "no field 'rport'")],
)
def test_a_nio_type_that_could_not_be_used_is_refused(make_host, faulty_plugin, values, message):
    fault = hook(
        "gns3_nio_types", f"import dataclasses; return [dataclasses.replace(NIO_MINE, {values})]"
    )
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_nio_types"
    assert message in host.plugins[0].message
    assert (registry.node_types, registry.nio_types) == ({}, {})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("path='/mine'", "does not begin with /v1/"),
        ("path='/v1/projects'", "GET /v1/projects exists already"),
        ("path='/v1/projects/{id}'", "exists already"),
        ("path='/v1/projects/{p}/mine/vms'", "exists already"),
        ("path='/v1/{'", "cannot be installed"),
        ("path='/v1/{n:[}'", "cannot be installed"),
        ("method='GET /'", "cannot be installed"),
        ("answer=5", "5 where a schema class belongs"),
        ("body=NumberSchema()", "where a schema class belongs"),
        ("handler=None", "None where a function belongs"),
        ("scope=Scope.PROJECT", "must name ['project_id']"),
        ("scope=Scope.NODE, path='/v1/projects/{project_id}/x'", "must name ['vm_id']"),
    ],
)
def test_a_route_that_could_not_be_served_is_refused(make_host, faulty_plugin, values, message):
    fault = f"""
from gns3server.plugin import Scope
ROUTE = dict(method="GET", path="/v1/mine", handler=print, summary="")
@hookimpl
def gns3_routes():
    return [Route(**{{**ROUTE, **dict({values})}})]
"""
    host, registry = make_host(faulty_plugin(fault))
    assert host.plugins[0].phase == "gns3_routes"
    assert message in host.plugins[0].message
    assert (registry.node_types, host.routes()) == ({}, [])


@pytest.mark.parametrize("part", ["node_types", "nio_types", "routes"])
def test_of_two_plugins_that_clash_the_second_is_out_of_service(make_host, faulty_plugin, part):
    own_routes = hook("gns3_routes", "return []")
    own_nio = hook("gns3_nio_types", "return []")
    fault = {
        # A type called mine-more may be the plugin mine's or the plugin mine-more's.
        "node_types": own_routes + own_nio,
        "nio_types": hook("gns3_node_types", "return []") + own_routes,
        "routes": hook("gns3_node_types", "return []") + own_nio,
    }[part]
    more = "import dataclasses\nMINE = dataclasses.replace(MINE, name='mine-more')\n"
    first = faulty_plugin(more)
    second = faulty_plugin(more + fault, name="mine-more")
    host, registry = make_host(second, first)
    assert [plugin.phase for plugin in host.plugins] == [None, f"gns3_{part}"]
    assert "exists already" in host.plugins[1].message
    assert (list(registry.node_types), list(registry.nio_types)) == (["mine-more"], ["nio_mine"])
    assert {route.plugin for route in host.routes()} == {"mine"}


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
            assert host.plugins[0].message == ("TimeoutError: it did not return within 1 seconds")
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
    settings = replace(SETTINGS, sections={"mine": {"number": "many", "other": "ignored"}})
    host, registry = make_host(faulty_plugin(), settings=settings)
    assert host.plugins[0].phase == "configuration"
    assert "[mine] in the settings: number: Not a valid integer" in host.plugins[0].message
    assert registry.node_types == {}


def test_a_plugin_gets_its_section_read_by_its_schema(make_host, faulty_plugin):
    settings = replace(
        SETTINGS, sections={"mine": {"number": "7"}}, environ={"GNS3_MINE_NUMBER": "8"}
    )
    host, _ = make_host(faulty_plugin(), settings=settings)
    assert dict(host.plugins[0].config) == {"number": 8}
    with pytest.raises(TypeError):
        host.plugins[0].config["number"] = 9


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
