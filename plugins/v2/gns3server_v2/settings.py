"""The ``[v2]`` section of the settings."""

from __future__ import annotations

from marshmallow import Schema, fields

from gns3server.plugin import PathText, Text


class V2ConfigSchema(Schema):
    """The ``[v2]`` section of the configuration file."""

    version = Text(
        load_default="2.2.54",
        metadata={"help": "the version that clients are told, unless they tell their own"},
    )
    echo_version = fields.Boolean(
        load_default=True,
        metadata={"help": "tell a desktop client of the 2 series its own version, so it connects"},
    )
    shutdown_keeps_nodes = fields.Boolean(
        load_default=True,
        metadata={"help": "nodes run on when a client that has started the server ends it"},
    )
    web_client_path = PathText(
        load_default="",
        metadata={"help": "folder with the files of a web client, served at /static/web-ui/"},
    )
