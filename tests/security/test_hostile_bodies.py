"""Bodies that are small to send and large to read cost the server little, and others nothing."""

from __future__ import annotations

import gzip
import zlib

import pytest

from gns3server.http import bodies, encoding

MANY = 300_000

DEEP = [
    (b"[" * MANY, "Invalid JSON"),
    (b"[" * MANY + b"]" * MANY, "Invalid JSON"),
    (b'{"a":' * MANY + b"1" + b"}" * MANY, "Invalid JSON"),
    (b'{"name": ' + b"[" * 900 + b"]" * 900 + b"}", "Invalid JSON"),
    (b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}", "Invalid request"),
]

MUCH = [
    b"{" + b",".join(b'"k%d":1' % number for number in range(MANY // 5)) + b"}",
    b"[" + b"{}," * MANY + b"1]",
    b'{"name": [' + b"1," * MANY + b"1]}",
    b'{"name": [' + b"[1]," * 20_000 + b"1]}",
]

NUMBERS = [
    b"9" * 30,
    b"-" + b"9" * 30,
    b"9" * MANY,
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"1E" + b"9" * 1000,
    b"0." + b"0" * 100_000 + b"1",
    b"0x10",
    b"9223372036854775808",
    b"18446744073709551616",
]


@pytest.fixture
def check(raw, client, project):
    """Sends a body wherever one is read; checks that it is refused and that all goes on."""

    async def check(body, message):
        for method, path in (
            ("POST", f"{project}/toy/vms"),
            ("PUT", project),
            ("POST", "/v1/projects"),
            ("GET", "/v1/files/stream"),
        ):
            answer = await raw.request(method, path, body=body)
            assert answer.status == 400, (method, path, answer.body[:200])
            assert message in answer.json["message"]
        answer = await client.get(f"{project}/toy/vms")
        assert (answer.status, answer.json) == (200, [])

    return check


@pytest.mark.parametrize(("body", "message"), DEEP, ids=lambda value: ascii(value)[:20])
async def test_deep_json_is_refused(check, body, message):
    await check(body, message)


@pytest.mark.parametrize("body", MUCH, ids=lambda body: ascii(body)[:20])
async def test_json_of_too_many_values_is_refused(check, body):
    await check(body, f"more than {encoding.MOST_VALUES} values")


async def test_thousands_of_unknown_fields_are_refused(client, project):
    value = {f"k{number}": number for number in range(5000)}
    answer = await client.post(f"{project}/toy/vms", value)
    assert (answer.status, answer.json["request"]) == (400, value)
    assert "k4999: Unknown field" in answer.json["message"]


async def test_commas_in_a_text_are_no_values(client, project):
    text = ",[{" * 100_000
    answer = await client.post(f"{project}/toy/vms", {"name": "x", "note": text})
    assert (answer.status, answer.json["note"]) == (201, text)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:20].decode())
async def test_huge_numbers_are_refused(raw, client, project, number):
    for field in (b"console", b"name"):
        body = b'{"name": "x", "%s": %s}' % (field, number)
        answer = await raw.request("POST", f"{project}/toy/vms", body=body)
        assert (answer.status, answer.json["status"]) == (400, 400)
    assert (await client.get(f"{project}/toy/vms")).json == []


@pytest.mark.parametrize("digits", ["9" * 4000, "0" * 4000])
async def test_huge_numbers_in_a_path_are_none_of_a_port(client, project, make_toy, digits):
    toy = await make_toy()
    for path in (f"adapters/{digits}/ports/7", f"adapters/0/ports/{digits}7"):
        answer = await client.post(f"{toy}/{path}/nio", {"type": "nio_toy"})
        assert answer.status in (400, 409)


# Compression ------------------------------------------------------------------------


def deflated(size: int) -> bytes:
    return zlib.compress(b" " * size, 9)


@pytest.mark.heavy
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_bomb_is_413(client, project, coding):
    size = bodies.BODY_LIMIT * 4
    bomb = gzip.compress(b" " * size, 9) if coding == "gzip" else deflated(size)
    assert len(bomb) < size // 500
    for method, path in (("POST", f"{project}/toy/vms"), ("GET", "/v1/version")):
        headers = {"Content-Encoding": coding}
        answer = await client.request(method, path, data=bomb, headers=headers)
        assert answer.status == 413
        assert str(bodies.BODY_LIMIT) in answer.json["message"]
        assert (await client.get("/v1/version")).status == 200


@pytest.mark.parametrize(
    "coding", ["gzip, gzip", "x-gzip", "compress", "identity, gzip", "br, gzip"]
)
async def test_a_coding_that_is_not_undone_is_no_json(raw, project, coding):
    body = gzip.compress(gzip.compress(b'{"name": "x"}'))
    answer = await raw.request(
        "POST", f"{project}/toy/vms", f"Content-Encoding: {coding}", body=body
    )
    assert (answer.status, answer.json["status"]) == (400, 400)


async def test_a_transfer_coding_that_is_not_undone_is_400(raw, client):
    answer = await raw.request(
        "POST", "/v1/projects", "Transfer-Encoding: gzip, chunked", body=b"2\r\n{}\r\n0\r\n\r\n"
    )
    assert answer.status == 400
    assert "send it chunked, or with a length" in answer.json["message"]
    assert (await client.get("/v1/projects")).json == []


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip", "deflate"])
async def test_what_is_not_coded_as_it_says_is_400(raw, client, coding):
    for body in (b"\x28\xb5\x2f\xfd\x04\x00", b"nonsense" * 100):
        answer = await raw.request("POST", "/v1/projects", f"Content-Encoding: {coding}", body=body)
        assert (answer.status, answer.json["status"]) == (400, 400)
    assert (await client.get("/v1/projects")).json == []
