"""Requests on one node are served in the order in which their heads are read.

The clients here send a head with ``Expect: 100-continue``: the server asks for the body once the
request has its place, and so a test knows that it has it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import uuid
from typing import Any

import pytest

from gns3server.http import queueing

NAME = {"name": "late"}


class LateRequest:
    """A request that has its place, and whose body has not been sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes):
        self._reader = reader
        self._writer = writer
        self._body = body
        self._said = asyncio.ensure_future(reader.read())

    def send_body(self) -> None:
        """Let it be complete."""
        self._writer.write(self._body)

    @property
    def answered(self) -> bool:
        """Whether there is an answer to it."""
        return self._said.done()

    async def answer(self) -> tuple[int, Any]:
        """Status and content of the answer."""
        head, _, body = (await self._said).partition(b"\r\n\r\n")
        self._writer.close()
        return int(head.split()[1]), json.loads(body or b"null")

    async def status(self) -> int:
        """The status of the answer."""
        return (await self.answer())[0]

    async def finish(self) -> int:
        """Send the body; returns the status of the answer."""
        self.send_body()
        return await self.status()

    async def hang_up(self) -> None:
        """Cut the connection, rudely."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        await asyncio.wait({self._said})


class Sender:
    """Sends requests of which it knows when they have their places."""

    def __init__(self, raw: Any, client: Any) -> None:
        self._raw = raw
        self._client = client

    async def head(self, method: str, path: str, value: Any = None) -> LateRequest:
        """Send the head of a request, and wait until its body is asked for."""
        body = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
        reader, writer = await self._raw.connect()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        writer.write(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        return LateRequest(reader, writer, body)

    async def whole(self, method: str, path: str, value: Any = None) -> LateRequest:
        """Send a whole request, and wait only until it has its place."""
        request = await self.head(method, path, value)
        request.send_body()
        return request

    async def all_read(self) -> None:
        """Wait until the server has read all that was sent to it until now."""
        for _ in range(3):
            assert (await self._client.get("/v1/version")).status == 200

    async def outlast(self, node: str) -> None:
        """Wait for longer than any request until now may keep others waiting for its body.

        :param node: one that nobody else has to do with.
        """
        never = await self.head("GET", node)
        # Its turn is over, and so is that of all whose heads were before its own.
        assert (await self._client.get(node)).status == 200
        await never.hang_up()


@pytest.fixture
def send(raw, client):
    """Sends requests to ``server``."""
    return Sender(raw, client)


@pytest.fixture
def patient(monkeypatch):
    """Have the server wait for bodies for as long as a busy machine may take to send them."""
    monkeypatch.setattr(queueing, "BODY_PATIENCE", 20.0)


async def plug(client, toy: str) -> str:
    """Wire a toy; returns the path of its NIO."""
    port = (await client.post(f"{toy.partition('/toy/')[0]}/ports/toy")).json["udp_port"]
    nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port + 1}
    path = f"{toy}/adapters/0/ports/0/nio"
    assert (await client.post(path, nio)).status == 201
    return path


# Bodies that come late ----------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
@pytest.mark.statement("LOCK-01")
@pytest.mark.parametrize("bodies", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("first", "statuses"), [("nio", [204, 204]), ("vm", [204, 404])])
async def test_heads_make_the_order_whichever_body_comes_first(
    client, make_toy, send, *, bodies, first, statuses
):
    toy = await make_toy()
    nio = await plug(client, toy)
    paths = (nio, toy) if first == "nio" else (toy, nio)
    requests = [await send.head("DELETE", path) for path in paths]
    for number in bodies:
        requests[number].send_body()
        await send.all_read()
    assert [await request.status() for request in requests] == statuses


@pytest.mark.parametrize(
    ("actions", "state"), [("start stop", "stopped"), ("stop start", "started")]
)
@pytest.mark.usefixtures("patient")
async def test_a_late_start_before_a_stop_ends_stopped(client, make_toy, send, actions, state):
    toy = await make_toy()
    first, second = actions.split()
    late = await send.head("POST", f"{toy}/{first}")
    prompt = await send.whole("POST", f"{toy}/{second}")
    assert (await late.finish(), await prompt.status()) == (204, 204)
    assert (await client.get(toy)).json["status"] == state


@pytest.mark.usefixtures("patient")
async def test_a_request_without_a_body_has_its_place_as_well(client, make_toy, send):
    toy = await make_toy()
    late = await send.head("PUT", toy, NAME)
    reading = asyncio.ensure_future(client.get(toy))
    assert (await late.finish(), (await reading).json["name"]) == (200, "late")
    late = await send.head("GET", toy)
    update = await send.whole("PUT", toy, {"name": "new"})
    late.send_body()
    assert (await late.answer())[1]["name"] == "late"
    assert await update.status() == 200


async def test_the_body_is_asked_for_while_the_request_waits_for_its_turn(
    client, make_toy, gate, send
):
    toy = await make_toy(mode=gate.mode)
    start = asyncio.ensure_future(client.post(f"{toy}/start"))
    await gate.reached()
    stop, show = await send.whole("POST", f"{toy}/stop"), await send.whole("GET", toy)
    assert not any((start.done(), stop.answered, show.answered))
    gate.open()
    assert ((await start).status, await stop.status()) == (204, 204)
    assert (await show.answer())[1]["status"] == "stopped"


async def test_a_place_is_kept_for_as_long_as_its_turn_has_not_come(client, make_toy, gate, send):
    toy, other = await make_toy(mode=gate.mode), await make_toy()
    start = asyncio.ensure_future(client.post(f"{toy}/start"))
    await gate.reached()
    late, show = await send.head("PUT", toy, NAME), await send.whole("GET", toy)
    await send.outlast(other)
    assert not show.answered
    gate.open()
    assert (await start).status == 204
    # Without its body, its turn is over as soon as it comes.
    assert (await show.answer())[1]["name"] == "toy"
    assert await late.finish() == 200
    assert (await client.get(toy)).json["name"] == "late"


async def test_a_body_that_has_come_before_the_turn_is_in_time(client, make_toy, gate, send):
    toy, other = await make_toy(mode=gate.mode), await make_toy()
    start = asyncio.ensure_future(client.post(f"{toy}/start"))
    await gate.reached()
    late, show = await send.head("PUT", toy, NAME), await send.whole("GET", toy)
    await send.outlast(other)
    late.send_body()
    await send.all_read()
    gate.open()
    assert ((await start).status, await late.status()) == (204, 200)
    assert (await show.answer())[1]["name"] == "late"


# Bodies that never come ---------------------------------------------------------------------


async def test_a_body_that_does_not_come_costs_its_request_the_place(client, make_toy, send):
    toy = await make_toy()
    late = await send.head("PUT", toy, NAME)
    assert (await client.get(toy)).json["name"] == "toy"
    assert not late.answered
    assert await late.finish() == 200
    assert (await client.get(toy)).json["name"] == "late"


async def test_fifty_bodies_that_do_not_come_cost_no_more_than_one(client, make_toy, send):
    toy = await make_toy()
    late = [await send.head("PUT", toy, {"name": f"late {number}"}) for number in range(50)]
    assert (await client.get(toy)).json["name"] == "toy"
    # A second for each, and the first would have been told that their bodies did not come.
    assert not any(request.answered for request in late)
    for number in (7, 3):
        assert await late[number].finish() == 200
        assert (await client.get(toy)).json["name"] == f"late {number}"
    for request in late:
        if not request.answered:
            await request.hang_up()


async def test_who_hangs_up_gives_the_place_up_at_once(client, make_toy, send):
    toy, other = await make_toy(), await make_toy()
    clock = await send.head("PUT", other, NAME)
    for _ in range(40):
        late = await send.head("PUT", toy, NAME)
        await late.hang_up()
        assert (await client.get(toy)).json["name"] == "toy"
    # A second for each, and this one would have been told that its body did not come.
    assert await clock.finish() == 200


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": ""}', b'{"nonsense": 1}'])
async def test_a_body_that_is_refused_gives_its_place_back(client, make_toy, project, send, body):
    toy = await make_toy()
    late, show = await send.head("PUT", toy, body), await send.whole("GET", toy)
    creation = await send.head("POST", f"{project}/toy/vms", body)
    assert (await late.finish(), await creation.finish()) == (400, 400)
    assert await show.status() == 200
    # Nobody is in the project, or else this would wait for ever.
    assert (await client.delete(project)).status == 204


async def test_a_body_is_not_asked_for_where_there_is_no_project(raw, lab):
    path = f"/v1/projects/{uuid.uuid4()}"
    for method, target in (
        ("DELETE", path),
        ("GET", f"{path}/toy/vms"),
        ("PUT", f"{path}/toy/vms/x"),
    ):
        answer = await raw.request(method, target, "Expect: 100-continue", "Content-Length: 9")
        assert answer.status == 404


# Creations ----------------------------------------------------------------------------------


@pytest.fixture
def vms(project):
    """The path of the toys of a project."""
    return f"{project}/toy/vms"


@pytest.mark.usefixtures("patient")
async def test_a_request_waits_for_a_creation_that_names_its_node(client, vms, send):
    node_id = str(uuid.uuid4())
    late = await send.head("POST", vms, {"name": "toy", "vm_id": node_id})
    start, show = (
        await send.whole("POST", f"{vms}/{node_id}/start"),
        await send.whole("GET", f"{vms}/{node_id}"),
    )
    stop = await send.whole("POST", f"{vms}/{node_id}/stop")
    assert await late.finish() == 201
    assert (await start.status(), await stop.status()) == (204, 204)
    assert (await show.answer())[1]["status"] == "started"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("body", [{"name": "toy"}, {"name": "toy", "vm_id": str(uuid.uuid4())}, {}])
async def test_a_node_that_no_creation_names_is_unknown(client, vms, send, body):
    late = await send.head("POST", vms, body)
    show = await send.whole("GET", f"{vms}/{uuid.uuid4()}")
    await late.finish()
    assert await show.status() == 404


async def test_a_creation_whose_body_does_not_come_holds_up_no_unknown_node_for_long(
    client, vms, send
):
    node_id = str(uuid.uuid4())
    late = await send.head("POST", vms, {"name": "toy", "vm_id": node_id})
    assert (await client.get(f"{vms}/{node_id}")).status == 404
    assert not late.answered
    assert await late.finish() == 201
    assert (await client.get(f"{vms}/{node_id}")).status == 200


async def test_a_creation_whose_body_does_not_come_holds_up_no_known_node(
    client, make_toy, vms, send
):
    toy = await make_toy()
    late = [await send.head("POST", vms, {"name": "late"})]
    for number in range(40):
        assert (await client.put(toy, {"name": f"{number}"})).status == 200
        late.append(await send.head("POST", vms, {"name": "late"}))
    # A second for each, and the first would have been told that its body did not come.
    assert await late[0].finish() == 201
    for request in late[1:]:
        await request.hang_up()


@pytest.mark.usefixtures("patient")
async def test_who_asks_for_a_node_before_its_creation_does_not_get_it(vms, send):
    node_id = str(uuid.uuid4())
    show = await send.head("GET", f"{vms}/{node_id}")
    create = await send.head("POST", vms, {"name": "toy", "vm_id": node_id})
    create.send_body()
    assert (await show.finish(), await create.status()) == (404, 201)


@pytest.mark.usefixtures("patient")
async def test_of_two_creations_of_one_node_the_first_makes_it(vms, send):
    body = {"name": "first", "vm_id": str(uuid.uuid4())}
    first = await send.head("POST", vms, body)
    second = await send.head("POST", vms, {**body, "name": "second"})
    second.send_body()
    await send.all_read()
    assert await first.finish() == 201
    assert (await second.answer())[1]["name"] == "first"


async def test_fifty_creations_whose_bodies_do_not_come_cost_no_more_than_one(client, vms, send):
    late = [await send.head("POST", vms, {"name": "toy"}) for _ in range(50)]
    assert (await client.get(f"{vms}/{uuid.uuid4()}")).status == 404
    project = vms.partition("/toy/")[0]
    assert not any(request.answered for request in late)
    assert (await client.delete(project)).status == 204
    # What comes too late for its project is told so.
    assert await late[0].finish() == 404
    for request in late[1:]:
        await request.hang_up()


# Whole projects -----------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("method", "action"), [("POST", "/close"), ("DELETE", "")])
async def test_who_comes_after_the_end_of_a_project_finds_it_gone(
    make_toy, project, send, *, method, action
):
    toy = await make_toy()
    end = await send.head(method, f"{project}{action}")
    late = [
        await send.whole("POST", f"{toy}/start"),
        await send.whole("POST", f"{project}/toy/vms", NAME),
    ]
    again = await send.whole("DELETE", project)
    assert await end.finish() == 204
    assert [await request.status() for request in (*late, again)] == [404] * 3


@pytest.mark.usefixtures("patient")
async def test_the_end_of_a_project_waits_for_those_before_it(client, make_toy, project, send):
    toy = await make_toy()
    late = await send.head("PUT", toy, NAME)
    end = await send.head("DELETE", project)
    late.send_body()
    assert await late.status() == 200
    assert await end.finish() == 204


async def test_an_end_whose_body_does_not_come_ends_nothing(client, make_toy, project, send):
    toy = await make_toy()
    end = await send.head("DELETE", project)
    assert (await client.get(toy)).status == 200
    assert await end.finish() == 204
    assert (await client.get(toy)).status == 404


async def test_a_project_is_renamed_beside_its_nodes_and_moved_alone(
    client, make_toy, project, gate, send, *, tmp_path
):
    toy, other = await make_toy(mode=gate.mode), await make_toy()
    start = asyncio.ensure_future(client.post(f"{toy}/start"))
    await gate.reached()
    rename = await send.head("PUT", project, NAME)
    show = await send.whole("GET", other)
    assert await rename.finish() == 200
    assert await show.status() == 200
    move = await send.head("PUT", project, {"path": str(tmp_path / "moved")})
    show = await send.whole("GET", other)
    move.send_body()
    await send.all_read()
    assert not any((start.done(), move.answered, show.answered))
    gate.open()
    assert ((await start).status, await move.status()) == (204, 200)
    assert (await show.answer())[1]["name"] == "toy"


# Uploads ------------------------------------------------------------------------------------


@pytest.fixture
def plugins():
    """Toys, and images that can be uploaded."""
    return {"toy": "toy_emulator", "shelf": "toy_images"}


async def test_an_upload_takes_as_long_as_it_takes_and_holds_up_nobody(
    client, images, make_toy, project, send
):
    toy, other = await make_toy(), await make_toy()
    upload = await send.head("POST", "/v1/shelf/vms/rom", b"content")
    assert (await client.post(f"{toy}/start")).status == 204
    assert (await client.delete(toy)).status == 204
    await send.outlast(other)
    assert (await client.delete(project)).status == 204
    assert not upload.answered
    assert await upload.finish() == 204
    assert (await client.get("/v1/shelf/vms")).json == [{"filename": "rom"}]
