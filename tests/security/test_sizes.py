"""What a client can make answers, events and the log hold is bounded, in bytes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket

import pytest

from gns3server.errors import LONGEST_MESSAGE
from gns3server.http import bodies
from gns3server.http.encoding import MOST_REPEATED
from gns3server.http.error_answers import LONGEST_ANSWER
from gns3server.http.lists import PART_BYTES
from gns3server.http.schemas import NAME_LENGTH
from gns3server.log.lines import LONGEST_LINE, OneLine
from gns3server.nodes.node import PROPERTIES_BYTES
from gns3server.nodes.node_core import LONG_TEXT

LONG = "a long text\n" * (PROPERTIES_BYTES // 15)


# What is stored -------------------------------------------------------------------------


async def test_values_of_a_node_that_are_too_long_are_refused(client, project, make_toy):
    toy = await make_toy(note=LONG)
    for method, path in (("POST", f"{project}/toy/vms"), ("PUT", toy)):
        answer = await client.request(method, path, {"name": "x", "note": LONG * 2})
        assert answer.status == 413
        assert str(PROPERTIES_BYTES) in answer.json["message"]
    (shown,) = (await client.get(f"{project}/toy/vms")).json
    assert (shown["name"], shown["note"]) == ("toy", LONG)
    answer = await client.put(toy, {"name": "x" * (NAME_LENGTH + 1)})
    assert (answer.status, "name" in answer.json["message"]) == (400, True)
    assert (await client.put(toy, {"name": "x" * NAME_LENGTH})).status == 200


# What is answered -----------------------------------------------------------------------

NOT_REPEATED = "which are more than an answer repeats"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"name": 1, "x": "x" * (bodies.BODY_LIMIT - 100)}).encode(),
        b'{"x": ' + b"[" * 200 + b"1," * 9000 + b"1" + b"]" * 200 + b"}",
        b'{"x": "' + b"\\u0001" * (MOST_REPEATED // 6 - 10) + b'"}',
        b'{"x": "' + b"\\u0001" * (bodies.BODY_LIMIT // 6 - 10) + b'"}',
    ],
    ids=["long", "nested", "escaped", "long and escaped"],
)
async def test_a_refused_body_is_not_repeated_at_length(raw, project, body):
    answer = await raw.request("POST", f"{project}/toy/vms", body=body)
    assert answer.status == 400
    assert len(answer.body) <= LONGEST_ANSWER
    if len(answer.body) < len(body):
        assert NOT_REPEATED in answer.json["request"]["not_repeated"]
    else:
        assert answer.json["request"] == json.loads(body)


async def test_a_body_of_usual_length_is_repeated(raw, project):
    values = {"x": "y" * (MOST_REPEATED - 100)}
    answer = await raw.request("POST", f"{project}/toy/vms", body=json.dumps(values).encode())
    assert (answer.status, answer.json["request"]) == (400, values)


@pytest.mark.parametrize("byte", [b"x", b"\xff", b"\0"])
async def test_what_is_no_json_is_not_repeated_at_length(raw, project, byte):
    body = byte * (bodies.BODY_LIMIT - 1)
    answer = await raw.request("POST", f"{project}/toy/vms", body=body)
    assert answer.status == 400
    assert len(answer.body) <= LONGEST_ANSWER


async def test_names_in_a_body_do_not_make_a_message_long(raw, project):
    many = {f"{number} {'x' * 200}": 1 for number in range(5000)}
    answer = await raw.request("POST", f"{project}/toy/vms", body=json.dumps(many).encode())
    assert answer.status == 400
    assert len(answer.json["message"]) < LONGEST_MESSAGE + 100
    answer = await raw.request(
        "POST", "/v1/version", body=json.dumps({"version": "9" * 1_000_000}).encode()
    )
    assert answer.status == 409
    assert len(answer.body) < 1000


# Lists ----------------------------------------------------------------------------------


@pytest.fixture
async def long_list(client, project, make_toy) -> str:
    """The path of a list of nodes whose texts are too much for one part of an answer."""
    for number in range(24):
        await make_toy(name=f"toy {number}", note=f"{number} {LONG}")
    return f"{project}/toy/vms"


async def test_a_long_list_is_sent_in_parts_and_whole(client, raw, make_toy, long_list):
    answer = await client.get(long_list)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "application/json"
    assert [node["name"] for node in answer.json] == [f"toy {number}" for number in range(24)]
    for node in answer.json:
        assert (await client.get(f"{long_list}/{node['vm_id']}")).json == node
    # Byte for byte as any other answer.
    written = json.dumps(answer.json, indent=4, sort_keys=True) + "\n"
    assert answer.body == written.encode()
    assert len(answer.body) > 4 * PART_BYTES
    # To a client of HTTP/1.0 the end of the connection ends it.
    old = await raw.talk(f"GET {long_list} HTTP/1.0\r\n\r\n".encode())
    assert old.endswith(b"\r\n\r\n" + answer.body)
    head = await raw.talk(f"HEAD {long_list} HTTP/1.0\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.0 200 ")
    assert head.endswith(b"\r\n\r\n")


async def test_a_list_of_usual_length_has_a_length(client, project, make_toy):
    await make_toy(note="x")
    answer = await client.get(f"{project}/toy/vms")
    assert int(answer.headers["Content-Length"]) == len(answer.body)


async def test_who_does_not_read_a_long_list_holds_up_nobody(client, server, project, long_list):
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(idle, ("127.0.0.1", server.running.port))
        await loop.sock_sendall(
            idle, f"GET {long_list} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert await loop.sock_recv(idle, 1) == b"H"
        # The project is wanted alone.
        assert (await client.delete(project)).status == 204


# Events ---------------------------------------------------------------------------------


async def test_events_leave_long_texts_out(client, project, make_toy):
    async with client.listen(f"{project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        for note, shown in (("x" * LONG_TEXT, True), ("x" * (LONG_TEXT + 1), False)):
            toy = await make_toy(note=note)
            told = await anext(events)
            assert told["action"] == "vm.created"
            whole = (await client.get(toy)).json
            assert whole["note"] == note
            assert told["event"] == {k: v for k, v in whole.items() if shown or k != "note"}


# The log --------------------------------------------------------------------------------


def test_a_record_is_not_longer_than_a_few_lines():
    formatter = OneLine("%(message)s")
    for text in ("x" * 1_000_000, "\0" * 1_000_000):
        line = formatter.format(logging.makeLogRecord({"msg": f"begin {text} end"}))
        assert line.startswith("begin ")
        assert line.endswith(" end")
        assert "characters are left out" in line
        assert len(line) < 5 * LONGEST_LINE
    try:
        raise ValueError("x\n" * 1_000_000)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    traceback = formatter.format(logging.makeLogRecord({"msg": "bug", "exc_info": info}))
    assert "in test_a_record_is_not_longer" in traceback
    assert len(traceback) < 20 * LONGEST_LINE
