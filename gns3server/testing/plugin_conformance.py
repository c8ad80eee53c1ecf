"""What is required of every plugin, whether it has node types or not."""

from __future__ import annotations

import ast
import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gns3server.plugin_host.modules import steps_of_task
from gns3server.testing.does_not_apply import does_not_apply
from gns3server.testing.loop_watch import LoopWatch

if TYPE_CHECKING:
    from gns3server.http.routing import Route
    from gns3server.plugin_host.plugin import Plugin
    from gns3server.testing.lab_server import LabServer, ServerFactory

ALLOWED = ("gns3server.plugin", "gns3server.testing")
"""The modules of the server that a plugin may import, the second one in its tests."""

NO_PORTS = (0, -1, 65536, "port", None)
"""What no client may give as a UDP port."""


class PluginConformance:
    """The plugin as a whole. Subclass this as ``TestSomething`` and name your plugin.

    The tests take the fixture ``gns3_serving``; redefine it in your module to run them with other
    settings.
    """

    gns3_requirements: ClassVar[bool] = True
    """Its tests are requirements: the report names them."""

    plugin: ClassVar[str]
    """The name of the plugin: that of its entry point."""

    async def test_it_is_in_service(self, gns3_serving: ServerFactory) -> None:
        """The plugin is found and loaded, and all that it offers is installed."""
        async with gns3_serving(strict_plugins=False) as server:
            assert self.report(server)["status"] == "ok", self.report(server)

    async def test_it_imports_what_it_may(self, gns3_serving: ServerFactory) -> None:
        """Of the server it imports ``gns3server.plugin`` alone: all else may change any day."""
        async with self.serving(gns3_serving) as server:
            plugin = self.entry(server)
            strange = await asyncio.to_thread(lambda: [*strange_imports(plugin.module)])
        assert not strange, f"{self.plugin} imports {', '.join(strange)}"

    async def test_the_api_document_describes_it(self, gns3_serving: ServerFactory) -> None:
        """Each of its routes is in ``/v1/openapi.json``, and its NIO types can be described."""
        async with self.serving(gns3_serving) as server:
            paths = (await server.client.get("/v1/openapi.json")).json["paths"]
            missing = [
                f"{route.method} {route.plain_path}"
                for route in self.entry(server).offer.routes
                if route.method.lower() not in paths.get(route.plain_path, {})
            ]
            assert not missing, f"not described: {', '.join(missing)}: {self.report(server)}"
            assert self.report(server)["phase"] is None, self.report(server)

    async def test_its_routes_refuse_nonsense(self, gns3_serving: ServerFactory) -> None:
        """What its routes cannot use is the client's mistake (4xx), never the plugin's (5xx)."""
        async with self.serving(gns3_serving) as server:
            project = (await server.client.post("/v1/projects", {"name": "conformance"})).json
            for route in own_routes(self.entry(server)):
                for project_id in (project["project_id"], str(uuid.uuid4()), "nothing"):
                    if project_id != project["project_id"] and "project_id" not in route.path_names:
                        continue
                    body: Any = {"conformance": []} if route.body is not None else None
                    if body is None and project_id == project["project_id"]:
                        # It could succeed.
                        continue
                    path = sample_path(route, project_id)
                    answer = await server.client.request(route.method, path, body)
                    assert 400 <= answer.status < 500, answer

    async def test_its_nio_types_refuse_nonsense(self, gns3_serving: ServerFactory) -> None:
        """A NIO type takes no field that it does not have, and as UDP port nothing that is none."""
        async with self.serving(gns3_serving) as server:
            kinds = self.entry(server).offer.nio_types
            if not kinds:
                does_not_apply("it offers no NIO types")
            for kind in kinds:
                schema, port = kind.schema(), kind.local_udp_port
                assert "conformance" in schema.validate({"conformance": 1}), kind.name
                taken = [v for v in NO_PORTS if port and port not in schema.validate({port: v})]
                assert not taken, f"{kind.name} takes {taken} as {port}"

    async def test_projects_come_and_go_beside_it(self, gns3_serving: ServerFactory) -> None:
        """No hook fails while a project is made, closed, opened again and deleted."""
        async with self.serving(gns3_serving) as server:
            client, before = server.client, self.report(server)
            answer = await client.post("/v1/projects", {"name": "conformance"})
            project = f"/v1/projects/{answer.json['project_id']}"
            for action in ("close", "open", "commit"):
                assert (await client.post(f"{project}/{action}")).status < 300, action
            assert (await client.delete(project)).status == 204
            assert self.report(server) == before

    async def test_it_leaves_nothing_at_work(self, gns3_serving: ServerFactory) -> None:
        """A server begins and ends with it twice; nothing of it is at work afterwards."""
        for _ in "once", "again":
            async with self.serving(gns3_serving) as server:
                modules = server.running.plugins.modules
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            places = [modules.place(steps_of_task(task)) for task in tasks]
            left = [place for place in places if place.startswith("the plugin")]
            assert not left, f"tasks were left at work: {left}"
            assert self.report(server)["phase"] != "gns3_lifespan", self.report(server)

    async def test_no_hook_blocks_the_server(self, gns3_serving: ServerFactory) -> None:
        """No hook or handler holds the event loop for a second: everybody else would wait."""
        async with self.serving(gns3_serving) as server:
            watch = LoopWatch(server.running.plugins.modules)
        # Known by then: which modules are the plugin's.
        with watch.watching():
            async with self.serving(gns3_serving) as server:
                answer = await server.client.post("/v1/projects", {"name": "conformance"})
                await server.client.delete(f"/v1/projects/{answer.json['project_id']}")
        assert not watch.held, f"the event loop was held for a second, in {watch.held}"

    # Steps ---------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self, gns3_serving: ServerFactory) -> AsyncIterator[LabServer]:
        """A server with the plugin; if that is out of service, another test says why."""
        async with gns3_serving(strict_plugins=False) as server:
            if not self.entry(server).usable:
                does_not_apply("it is out of service")
            yield server

    def entry(self, server: LabServer) -> Plugin:
        """The plugin, as the server knows it."""
        plugins = {one.name: one for one in server.running.plugins.plugins}
        assert self.plugin in plugins, f"{self.plugin} is not installed: there are {[*plugins]}"
        return plugins[self.plugin]

    def report(self, server: LabServer) -> dict[str, Any]:
        """What the server says of the plugin."""
        return self.entry(server).report()


def strange_imports(module: Any) -> Iterator[str]:
    """What the modules of a plugin import of the server although they may not. Blocks."""
    name = module.__name__
    own = [one for one in [*sys.modules] if one == name or one.startswith(f"{name}.")]
    for each in sorted(own):
        path = getattr(sys.modules[each], "__file__", None)
        for target in imports(Path(path)) if path else ():
            if target.partition(".")[0] == "gns3server" and not target.startswith(ALLOWED):
                yield f"{target} in {each}"


def imports(path: Path) -> Iterator[str]:
    """All that a module imports, by full name. Blocks."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_routes(plugin: Plugin) -> Iterator[Route]:
    """The routes that a plugin adds to the standard ones, without streams and raw bodies."""
    for route in plugin.offer.routes:
        standard = any(f"/{kind.name}/vms" in route.path for kind in plugin.offer.node_types)
        if not (standard or route.websocket or route.stream or route.raw):
            yield route


def sample_path(route: Route, project_id: str) -> str:
    """An address that a route answers to, of this project and of a node that does not exist."""
    path = route.plain_path
    for name, _ in route.parameters:
        value = "0" if name in route.integers else str(uuid.uuid4())
        path = path.replace(f"{{{name}}}", project_id if name == "project_id" else value)
    return path
