"""JSON on the wire: how it looks, and what is not JSON."""

import json

import pytest

from gns3server.errors import InvalidRequest
from gns3server.http.encoding import decode, encode

VALUES = [
    {},
    [],
    {"b": 1, "a": {"d": [1, 2, {"x": None}], "c": ""}},
    [{"name": "two\nlines\n    indented", "script": "\r\n  a\n\n  b"}],
    {"tab\t": "Zürich \U0001f600 \u2028 \x7f"},
    {"empty": [], "also": {}, "deep": [[[[]]]]},
    {"b": 12345678901234567890123456, "a": [-(10**30), {}, [], "Zürich\n    "]},
]


@pytest.mark.parametrize("value", VALUES)
def test_bodies_look_as_json_indented_by_four_and_sorted(value):
    wanted = json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False)
    assert encode(value).decode() == f"{wanted}\n"


@pytest.mark.statement("HTTP-07")
def test_no_body_is_the_empty_object():
    assert decode(b"") == {}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b" [1]\n", [1]),
        (b"null", None),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"18446744073709551615", 2**64 - 1),
        (b"[18446744073709551616]", [2**64]),
        (b'{"a": -9223372036854775809}', {"a": -(2**63) - 1}),
        (b"1" * 308, int("1" * 308)),
    ],
)
def test_what_is_json(body, value):
    assert decode(body) == value


NO_JSON = [
    b"{",
    b"   ",
    b"{'a': 1}",
    b'{"a": NaN}',
    b"Infinity",
    b'{"a": 1} x',
    b'{"a": "\xff"}',
    b"\xff\xfe{\x00}\x00",
    b'{"a": "\\ud800"}',
    b'{"a": 1,}',
    b"[" * 100_000,
    b'{"a": "two\nlines"}',
]


@pytest.mark.statement("HTTP-01")
@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:20]))
def test_what_is_not_json_is_refused_with_a_text_that_can_be_sent_back(body):
    with pytest.raises(InvalidRequest) as refused:
        decode(body)
    assert refused.value.message.startswith("Invalid JSON: ")
    assert json.loads(encode(refused.value.request)) == {
        "malformed_json": body.decode(errors="replace")
    }


@pytest.mark.parametrize(("body", "number"), [(b'{"a": "\xe4"}', 8), (b"\xff\xfe{\0}\0", 1)])
def test_a_body_that_is_not_utf_8_is_refused_in_words_for_people(body, number):
    with pytest.raises(InvalidRequest, match=f"byte {number} is not UTF-8"):
        decode(body)


@pytest.mark.parametrize(
    "body",
    [
        b"1e999",
        b"-1e999",
        b"1" * 400,
        b"[" * 300 + b"]" * 300,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_whatever_is_let_in_can_be_sent_back(body):
    try:
        value = decode(body)
    except InvalidRequest as refused:
        value = refused.request
    assert json.loads(encode(value)) is not None
