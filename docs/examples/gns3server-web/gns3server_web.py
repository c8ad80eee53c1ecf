"""Web servers as nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from gns3server import plugin


class WebConfigSchema(Schema):
    """The section [web] of the settings."""

    python_path = plugin.Text(load_default="python3")


class WebCreateSchema(plugin.NodeCreateSchema):
    """A new web server."""

    page = plugin.Text(load_default="It works.")


class WebUpdateSchema(plugin.NodeUpdateSchema):
    """What can be changed about a web server; null changes nothing."""

    page = plugin.Text(allow_none=True)


class WebObjectSchema(plugin.NodeObjectSchema):
    """A web server, as answers and events show it."""

    page = plugin.Text(required=True)


class WebNode(plugin.ProcessNode):
    """Serves one page on its console port."""

    async def launch_spec(self) -> plugin.LaunchSpec:
        """What to run."""
        config = self.type.context
        python = await self.find_program(config["python_path"])
        return plugin.LaunchSpec(
            argv=(python, "-m", "http.server", "--bind", "127.0.0.1", str(self.console)),
            cwd=str(self.directory),
            files={"index.html": self.properties["page"].encode()},
            ports=(plugin.Port("tcp", self.console),),
        )


@plugin.hookimpl
def gns3_config_schema() -> type[Schema]:
    """One setting: where Python is."""
    return WebConfigSchema


@plugin.hookimpl
def gns3_node_types(config: Mapping[str, Any]) -> list[plugin.NodeType]:
    """One node type."""
    return [
        plugin.NodeType(
            name="web",
            title="web server",
            node_class=WebNode,
            create_schema=WebCreateSchema,
            update_schema=WebUpdateSchema,
            object_schema=WebObjectSchema,
            context=config,
        )
    ]
