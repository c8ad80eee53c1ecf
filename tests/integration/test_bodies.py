"""Bodies of requests: what is read, what is refused, and what the refusal says."""

import gzip
import json
import re
import zlib
from typing import Any

import pytest
from faults import impatient

from gns3server.http import bodies


@pytest.fixture
def vms(project):
    return f"{project}/toy/vms"


async def count(client, vms: str) -> int:
    return len((await client.get(vms)).json)


PYTHON = re.compile(r"None|True|Error|Exception|<\w|\bb'|\b(dict|list|str|int|float|bool)\b")
"""Words that only Python's own texts have."""


# What is read -----------------------------------------------------------------------


CONTENT_TYPES = [
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/json; charset=latin-1",
    "multipart/form-data",
    ";;",
    "",
]


@pytest.mark.parametrize("kind", CONTENT_TYPES)
async def test_the_content_type_does_not_matter(raw, vms, kind):
    body = b'{"name": "PC \xc3\xbc"}'
    answer = await raw.request("POST", vms, f"Content-Type: {kind}", body=body)
    assert (answer.status, answer.json["name"]) == (201, "PC \u00fc")


async def test_chunked_bodies_are_read(raw, vms):
    body = b'7\r\n{"name"\r\n7\r\n: "PC1"\r\n1;x=y\r\n}\r\n0\r\n\r\n'
    answer = await raw.request("POST", vms, "Transfer-Encoding: chunked", body=body)
    assert (answer.status, answer.json["name"]) == (201, "PC1")


async def test_compressed_bodies_are_read(raw, vms):
    body = gzip.compress(b'{"name": "PC1"}')
    answer = await raw.request("POST", vms, "Content-Encoding: gzip", body=body)
    assert (answer.status, answer.json["name"]) == (201, "PC1")


CONTENT = b'{"name": "PC1"}'
COMPRESSED = {
    "gzip": gzip.compress(CONTENT),
    "deflate": zlib.compress(CONTENT),
    "Deflate": zlib.compress(CONTENT, wbits=-15),
    "GZIP": gzip.compress(CONTENT[:5]) + gzip.compress(CONTENT[5:]),
}
"""The ways to compress: the third without its header, the fourth in two parts."""


@pytest.mark.parametrize("coding", COMPRESSED)
async def test_a_compressed_body_is_taken_whole_or_not_at_all(raw, lab, coding):
    whole, header = COMPRESSED[coding], f"Content-Encoding: {coding}"
    for length in range(1, len(whole)):
        answer = await raw.request("POST", "/v1/projects", header, body=whole[:length])
        assert (length, answer.status, lab.projects.projects) == (length, 400, [])
    chunked = "Transfer-Encoding: chunked"
    for wrong in (b"0\r\n\r\n", b"1\r\n\x1f\r\n0\r\n\r\n"):
        answer = await raw.request("POST", "/v1/projects", header, chunked, body=wrong)
        assert (answer.status, lab.projects.projects) == (400, [])
    wrong_sum = bytes([*whole[:-3], whole[-3] ^ 1, *whole[-2:]])
    # Without a header there is no checksum either.
    for wrong in (whole + b"x", *([wrong_sum] if coding != "Deflate" else [])):
        assert (await raw.request("POST", "/v1/projects", header, body=wrong)).status == 400
    assert (await raw.request("POST", "/v1/projects", header, body=whole)).status == 201


async def test_no_body_is_none_whatever_it_says_of_its_coding(raw):
    answer = await raw.request("POST", "/v1/projects", "Content-Encoding: gzip")
    assert answer.status == 201


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"name"'])
async def test_what_is_no_object_is_said_to_be_none(raw, vms, body):
    answer = await raw.request("POST", vms, body=body)
    assert (answer.status, answer.json["request"]) == (400, json.loads(body))
    assert "must be a JSON object" in answer.json["message"]


@pytest.mark.statement("HTTP-07")
async def test_no_body_is_an_empty_object(raw, client, vms):
    assert (await raw.request("POST", "/v1/projects")).status == 201
    assert (await raw.request("POST", "/v1/projects", "Content-Length: 0")).status == 201
    answer = await raw.request("POST", vms, "Content-Length: 0")
    assert (answer.status, answer.json["request"]) == (400, {})
    assert "name" in answer.json["message"]


async def test_routes_without_a_schema_take_any_json(client, make_toy, project):
    toy = await make_toy()
    for method, path, status in [
        ("GET", "/v1/version", 200),
        ("GET", toy, 200),
        ("POST", f"{toy}/start", 204),
        ("POST", f"{toy}/stop", 204),
        ("DELETE", toy, 204),
        ("POST", f"{project}/close", 204),
    ]:
        for body in (b"", b"{}", b'{"any": 1}', b"[1]", b"null", b'"x"'):
            if method == "GET" or body == b"null":
                answer = await client.request(method, path, data=body)
                assert answer.status == status, body
        answer = await client.request("GET", "/v1/version", data=b'{"any"')
        assert answer.status == 400


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_what_is_not_json_is_refused_even_where_nothing_is_wanted(client, make_toy, method):
    toy = await make_toy()
    path = f"{toy}/start" if method == "POST" else toy
    answer = await client.request(method, path, data=b"{")
    assert answer.status == 400
    assert answer.json["request"] == {"malformed_json": "{"}
    assert (await client.get(toy)).json["status"] == "stopped"


# What is refused ----------------------------------------------------------------------

BROKEN = [
    b"{",
    b"  ",
    b"name=PC1",
    b'{"name": "PC1"} x',
    b'{"name": "\xff"}',
    b'\xef\xbb\xbf{"name": "PC1"}',
    b'{"name": "\\ud800"}',
    b'{"name": "PC1", "console": NaN}',
    b'{"name": "PC1", "console": Infinity}',
    b'{"name": "PC1", "console": 02000}',
    b'{"name": "PC1", "note": ' + b"[" * 300 + b"]" * 300 + b"}",
    b"[" * 200_000,
]


@pytest.mark.statement("HTTP-01", "HTTP-04")
async def test_what_is_not_json_is_repeated_as_text(client, vms, subtests):
    for body in BROKEN:
        with subtests.test(body=body[:30]):
            answer = await client.request("POST", vms, data=body)
            assert answer.status == 400
            assert answer.json["message"].startswith("Invalid JSON")
            assert answer.json["path"] == "/v1/projects/{project_id}/toy/vms"
            assert answer.json["request"] == {"malformed_json": body.decode(errors="replace")}
    assert await count(client, vms) == 0


async def test_a_body_must_be_an_object(client, vms, project, subtests):
    nio = f"{vms}/00010203-0405-0607-0809-0a0b0c0d0e0f/adapters/0/ports/0/nio"
    targets = [("POST", vms), ("PUT", project), ("POST", "/v1/projects"), ("POST", nio)]
    for value in ([1], "x", 1, True, None, [], [{"name": "PC1"}]):
        for method, path in targets:
            with subtests.test(value=value, path=path):
                body = b"null" if value is None else None
                answer = await client.request(method, path, value, data=body)
                assert (answer.status, answer.json["request"]) == (400, value)


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": 1}, "name"),
    ({"name": ["PC1"]}, "name"),
    ({"name": "a\0b"}, "name"),
    ({"name": "PC1", "nonsense": 1}, "nonsense"),
    ({"name": "PC1", "id": "00010203-0405-0607-0809-0a0b0c0d0e0f"}, "id"),
    ({"name": "PC1", "Name": "PC2"}, "Name"),
    ({"name": "PC1", "status": "started"}, "status"),
    ({"name": "PC1", "console": True}, "console"),
    ({"name": "PC1", "console": "2000"}, "console"),
    ({"name": "PC1", "console": 2000.0}, "console"),
    ({"name": "PC1", "console": 2000.5}, "console"),
    ({"name": "PC1", "console": 0}, "console"),
    ({"name": "PC1", "console": -1}, "console"),
    ({"name": "PC1", "console": 65536}, "console"),
    ({"name": "PC1", "console": 2**63}, "console"),
    ({"name": "PC1", "console": [2000]}, "console"),
    ({"name": "PC1", "vm_id": None}, "vm_id"),
    ({"name": "PC1", "vm_id": True}, "vm_id"),
    ({"name": "PC1", "vm_id": 1.0}, "vm_id"),
    ({"name": "PC1", "vm_id": "1"}, "vm_id"),
    ({"name": "PC1", "vm_id": ""}, "vm_id"),
    ({"name": "PC1", "vm_id": "00010203040506070809" + "0a0b0c0d0e0f"}, "vm_id"),
    ({"name": "PC1", "vm_id": "00010203-0405-0607-0809-0a0b0c0d0e0g"}, "vm_id"),
    ({"name": "PC1", "vm_id": "00010203-0405-0607-0809-0a0b0c0d0e0f\n"}, "vm_id"),
    ({"name": "PC1", "vm_id": "\u0660" * 8 + "-0405-0607-0809-0a0b0c0d0e0f"}, "vm_id"),
    ({"name": "PC1", "mode": None}, "mode"),
]


@pytest.mark.statement("HTTP-02", "VPCS-32")
async def test_what_does_not_fit_the_schema_is_refused(client, vms, subtests):
    for values, field in UNFIT:
        with subtests.test(values=values):
            answer = await client.post(vms, values)
            assert answer.status == 400
            assert answer.json["message"].startswith(f"Invalid request: {field}: ")
            assert answer.json["request"] == values
    assert await count(client, vms) == 0


@pytest.mark.statement("HTTP-04")
@pytest.mark.parametrize("digits", ["9" * 18, "12345678901234567890123456", "7" * 300])
async def test_an_integer_comes_back_with_all_its_digits(client, project, vms, digits):
    values = {
        "name": "PC1",
        "console": -int(digits),
        "vm_id": int(digits),
        "x": [{"y": int(digits)}],
    }
    for method, path in (("POST", vms), ("PUT", project), ("GET", "/v1/projects/no-id")):
        answer = await client.request(method, path, data=json.dumps(values).encode())
        assert answer.status == 400
        assert json.loads(answer.body)["request"] == values


VALUES: list[Any] = [None, True, 7, -1.5, "", "x", [], {}, [None], {"a": None}, 2**70]


async def test_no_text_speaks_of_things_of_python(client, project, make_toy, vms):
    toy = await make_toy()
    names = "name project_id vm_id path temporary console version location type lport rhost rport"
    for method, path in (
        ("POST", "/v1/projects"),
        ("PUT", project),
        ("POST", vms),
        ("PUT", toy),
        ("POST", f"{toy}/adapters/0/ports/0/nio"),
        ("POST", "/v1/version"),
        ("GET", "/v1/files/stream"),
        ("PUT", f"{project}/layout"),
    ):
        for body in (*VALUES, *({name: value} for name in names.split() for value in VALUES)):
            answer = await client.request(method, path, data=json.dumps(body).encode())
            if answer.status >= 400:
                text = answer.json["message"]
                assert not PYTHON.search(text), (method, path, body, text)


async def test_every_problem_is_named_at_once(client, vms):
    answer = await client.post(vms, {"console": 0, "nonsense": 1})
    for field in ("name:", "console:", "nonsense:"):
        assert field in answer.json["message"]


async def test_integers_of_any_size_do_no_harm(client, vms):
    body = b'{"name": "PC1", "console": ' + b"9" * 400 + b"}"
    answer = await client.request("POST", vms, data=body)
    assert answer.status == 400


async def test_the_last_of_two_equal_keys_counts(client, vms):
    answer = await client.request("POST", vms, data=b'{"name": "a", "name": "b"}')
    assert (answer.status, answer.json["name"]) == (201, "b")


async def test_a_null_console_is_no_console(client, vms, server):
    answer = await client.post(vms, {"name": "PC1", "console": None})
    assert answer.status == 201
    assert answer.json["console"] == server.settings.server.console_start_port_range


@pytest.mark.parametrize(
    "name", ["a b", "two\nlines", "\U0001f600", "../..", "%h", "x" * 10000, " "]
)
async def test_any_text_may_be_a_name(client, vms, name):
    answer = await client.post(vms, {"name": name})
    assert (answer.status, answer.json["name"]) == (201, name)


# Limits and broken transfers ------------------------------------------------------------


async def test_a_body_over_the_limit_is_413(client, raw, vms):
    blanks = b" " * (bodies.BODY_LIMIT - len(b'{"name": "x"}'))
    answer = await raw.request("POST", vms, body=blanks + b'{"name": "x"}')
    assert answer.status == 201
    answer = await raw.request("POST", vms, body=blanks + b' {"name": "x"}')
    assert answer.status == 413
    assert set(answer.json) == {"message", "status"}
    assert str(bodies.BODY_LIMIT) in answer.json["message"]
    assert await count(client, vms) == 1


async def test_the_limit_holds_for_what_comes_out_of_compression(raw, client, vms):
    body = gzip.compress(b'{"name": "' + b"x" * bodies.BODY_LIMIT + b'"}')
    answer = await raw.request("POST", vms, "Content-Encoding: gzip", body=body)
    assert answer.status == 413
    assert await count(client, vms) == 0


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Encoding: gzip", b"not gzip"),
        ("Content-Encoding: deflate", b"\xff" * 100),
        ("Transfer-Encoding: chunked", b"zz\r\nnonsense"),
    ],
)
async def test_a_body_that_cannot_be_decoded_is_400(raw, client, vms, header, body):
    answer = await raw.request("POST", vms, header, body=body)
    assert answer.status == 400
    assert b"Traceback" not in answer.body
    assert await count(client, vms) == 0


async def test_a_body_that_does_not_come_is_408(raw, vms, monkeypatch):
    impatient(monkeypatch, body=0.05)
    answer = await raw.request("POST", vms, "Content-Length: 100")
    assert answer.status == 408
    assert set(answer.json) == {"message", "status"}
