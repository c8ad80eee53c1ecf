"""Launch specs are plain data that makes sense."""

import json
from pathlib import Path
from typing import Any

import pytest

from gns3server.running.spec import LaunchSpec, Port


def spec(**fields: Any) -> LaunchSpec:
    return LaunchSpec(**{"argv": ("/bin/true",), "cwd": "/tmp", **fields})


def test_survives_being_stored_as_json() -> None:
    original = spec(
        argv=("/bin/emulator", "-p", "2000"),
        env={"LANG": "C"},
        files={"startup": b"\x00\xff\n"},
        ports=(Port("tcp", 2000), Port("udp", 10000)),
        may_bind=(Port("udp", 10009),),
        ready_limit=1.5,
        stop_signal=2,
        timer_slack_ns=5_000_000,
        children=1,
    )
    assert LaunchSpec.from_json(json.loads(json.dumps(original.to_json()))) == original


@pytest.mark.parametrize(
    "stored",
    [{}, {"argv": ["a"]}, {"argv": ["a"], "cwd": "/", "colour": 1}, {"argv": ["a"], "cwd": "x"}],
    ids=["empty", "incomplete", "unknown key", "senseless"],
)
def test_refuses_what_is_no_stored_spec(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"spec|cwd"):
        LaunchSpec.from_json(stored)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("argv", ()),
        ("argv", "vpcs -p 2000"),
        ("argv", b"vpcs"),
        ("ports", "2000"),
        ("argv", ("",)),
        ("argv", ("a", 5)),
        ("argv", ("a\0b",)),
        ("cwd", "relative"),
        ("env", {"A=B": "c"}),
        ("env", {"": "c"}),
        ("env", {"A": "c\0"}),
        ("files", {"../x": b""}),
        ("files", {"..": b""}),
        ("files", {"": b""}),
        ("files", {"node.log": b""}),
        ("files", {"text": "not bytes"}),
        ("ports", (Port("tcp", 1), Port("tcp", 1))),
        ("ports", (2000,)),
        ("may_bind", (Port("udp", 1), Port("udp", 1))),
        ("ready_limit", 0),
        ("ready_limit", float("nan")),
        ("ready_limit", float("inf")),
        ("stop_signal", 0),
        ("stop_signal", 1000),
        ("stop_limit", -1),
        ("timer_slack_ns", 0),
        ("children", -1),
        ("children", True),
        ("log_name", "a/b"),
        ("log_limit", 0),
    ],
)
def test_names_the_field_that_makes_no_sense(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}\\b"):
        spec(**{field: value})


def test_is_not_changed_through_what_it_was_made_of() -> None:
    env, files = {"A": "1"}, {"a": b""}
    made = spec(env=env, files=files)
    env["A"] = "2"
    files["b"] = b""
    assert (made.env, made.files) == ({"A": "1"}, {"a": b""})


@pytest.mark.parametrize(
    ("kind", "number"), [("sctp", 1), ("tcp", 0), ("udp", 65536), ("tcp", "1")]
)
def test_refuses_what_is_no_port(kind: Any, number: Any) -> None:
    with pytest.raises(ValueError, match=r"kind|number"):
        Port(kind, number)


def test_a_port_reads_well() -> None:
    assert str(Port("udp", 10000)) == "UDP port 10000"


@pytest.mark.parametrize(
    ("cwd", "inside"),
    [
        ("/lab", True),
        ("/lab/node", True),
        ("/elsewhere/../lab/node", True),
        ("/lab/../elsewhere", False),
        ("/labs", False),
        ("/", False),
    ],
)
def test_a_run_is_in_a_directory_and_goes_with_it(cwd: str, inside: bool) -> None:
    lab = Path("/lab")
    assert spec(cwd=cwd).is_in(lab) is inside
    moved = spec(cwd=cwd).moved(lab, Path("/new"))
    if inside:
        assert moved.directory == Path("/new") / spec(cwd=cwd).directory.relative_to(lab)
    else:
        assert moved == spec(cwd=cwd)
