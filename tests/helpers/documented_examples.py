"""The examples of the API document, sent as somebody does who tries out one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from gns3server.http.routing import JSON
from gns3server.http.schemas import PROJECT_EXAMPLE
from gns3server.testing import LabServer, free_udp_port

LIFE = (
    ("post", "/v1/projects"),
    ("post", "/vms"),
    ("post", "/nio"),
    ("post", "/start"),
    ("post", "/suspend"),
    ("post", "/resume"),
    ("post", "/reload"),
)
"""What has to come first, in this order; what is not named in either comes between them."""

END = (
    ("post", "/stop"),
    ("delete", "/nio"),
    ("delete", "/vms/{vm_id}"),
    ("post", "/commit"),
    ("delete", "/v1/projects/{project_id}"),
    ("post", "/close"),
    ("post", "/shutdown"),
)
"""What has to come last, in this order."""


@dataclass(frozen=True)
class Example:
    """One operation, as it is tried out.

    :param missing: whether something that it needs has no example.
    :param needs_file: whether its body is a file or a form.
    """

    method: str
    path: str
    body: Any
    missing: bool
    needs_file: bool

    @property
    def websocket(self) -> bool:
        """Whether it is a websocket."""
        return self.path.endswith("/console")

    @property
    def endless(self) -> bool:
        """Whether its answer has no end."""
        return self.path.endswith(("/notifications", "/v1/files/stream"))


def _place(method: str, path: str) -> int:
    for number, (first, ending) in enumerate(LIFE):
        if method == first and path.endswith(ending):
            return number
    for number, (first, ending) in enumerate(END):
        if method == first and path.endswith(ending):
            return number + 1000
    return 500


def examples(document: Mapping[str, Any]) -> Iterator[Example]:
    """The examples of all operations, in an order in which a lab can live."""
    operations = [(method, path) for path, item in document["paths"].items() for method in item]
    for method, path in sorted(operations, key=lambda found: (_place(*found), found)):
        operation = document["paths"][path][method]
        real = path
        for parameter in operation["parameters"]:
            if parameter["in"] == "path" and "example" in parameter:
                real = real.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
        described = operation.get("requestBody", {})
        content = described.get("content", {JSON: {}})
        body = content.get(JSON, {}).get("example")
        missing = "{" in real or (body is None and described.get("required", False))
        yield Example(method.upper(), real, body, missing, JSON not in content)


async def try_out(server: LabServer, *, but: str = "-") -> set[tuple[str, str]]:
    """Send every example to a server; each must succeed.

    :param but: how the paths of an API begin that deletes what another one needs, and has tests of
        its own.
    :returns: method and path of those that cannot be sent as they are: something in their paths
        has no example, or they need a file. Links and snapshots are not among them: there is one
        example of a node, and a link joins two; ids of snapshots are the server's. Nor are consoles
        where no type has an example of a node.
    :raises AssertionError: one did not succeed, or its answer was not documented.
    """
    document, left_out = (await server.client.get("/v1/openapi.json")).json, set()
    for example in examples(document):
        if example.path.startswith(but):
            continue
        if example.missing or example.needs_file:
            special = {"links", "snapshots", "{node_id}"}
            if not special & set(example.path.split("/")):
                left_out.add((example.method, example.path))
            continue
        if example.path.endswith("/close"):
            # The example before it has deleted the project.
            made = await server.client.post("/v1/projects", {"project_id": PROJECT_EXAMPLE})
            assert made.status == 201, made.body
        if example.body and "lport" in example.body:
            # The documented one may be taken by a test that runs at the same time.
            example.body["lport"] = free_udp_port(server)
        if example.websocket:
            await _look_in(server, example)
            continue
        status = await (_begin if example.endless else _send)(server, example)
        assert 200 <= status < 300, (status, example)
    return left_out


async def _look_in(server: LabServer, example: Example) -> None:
    """Open a websocket, and go away once it has begun."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(server.url + example.path),
    ):
        pass


async def _send(server: LabServer, example: Example) -> int:
    answer = await server.client.request(example.method, example.path, example.body)
    if answer.status == 409 and "serves its console itself" in answer.json["message"]:
        # Of a type whose programs do that, the server can write down nothing.
        return 204
    if answer.status == 409 and "cannot be copied while it runs" in answer.json["message"]:
        # Of a type whose files are of no use then: that is how it is documented.
        return 204
    if answer.status == 409 and "stores what it runs with when it stops" in answer.json["message"]:
        # A router's configuration is the router's while it runs: documented as well.
        return 204
    if answer.status == 302:
        answer = await server.client.get(answer.headers["Location"])
    assert answer.status < 300, (example, answer.body)
    return answer.status


async def _begin(server: LabServer, example: Example) -> int:
    """Send an example whose answer has no end, and go away once it has begun."""
    sent = aiohttp.request(example.method, server.url + example.path, json=example.body)
    async with sent as answer:
        assert await answer.content.read(1)
        return answer.status
