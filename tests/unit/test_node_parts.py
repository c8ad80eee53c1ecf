"""The small parts of a node: its states, its number, its files, its NIO."""

import itertools
import os
from pathlib import Path

import pytest
from faults import unknown_host
from marshmallow import Schema

from gns3server.errors import Conflict
from gns3server.files import durable as files
from gns3server.nodes.nio import Nio, NioType
from gns3server.nodes.node_type import Numbers
from gns3server.nodes.process_node import trouble
from gns3server.nodes.states import MOVES, WIRE_STATUS, NodeState, check_move
from gns3server.running.identity import ProcessIdentity
from gns3server.running.network import resolve_ipv4
from gns3server.running.runs import Exit

S = NodeState

ALLOWED = {
    (S.STOPPED, S.STARTING),
    (S.STARTING, S.STARTED),
    (S.STARTING, S.STOPPING),
    (S.STARTING, S.STOPPED),
    (S.STARTED, S.SUSPENDED),
    (S.STARTED, S.STOPPING),
    (S.STARTED, S.STOPPED),
    (S.SUSPENDED, S.STARTED),
    (S.SUSPENDED, S.STOPPING),
    (S.SUSPENDED, S.STOPPED),
    (S.STOPPING, S.STOPPED),
}

# Ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "main_first", "outlived", "told"),
    [
        (0, True, False, ""),
        (None, True, False, ""),
        (7, True, False, "its program ended with code 7"),
        (-9, True, False, "signal 9 (Killed) ended it"),
        (-9, True, True, "signal 9 (Killed) ended one of its processes, and the others were"),
        # The signal is the server's own: it has stopped the main process then.
        (-15, False, True, "one of its processes ended, and the others were stopped"),
        (None, False, True, "one of its processes ended, and the others were stopped"),
    ],
)
def test_an_end_names_the_signal_as_far_as_it_can_be_known(code, main_first, outlived, told):
    end = Exit(code, ProcessIdentity(2, 1, "boot"), outlived)
    said = trouble(end, main_first=main_first)
    assert said.startswith(told)
    assert bool(said) == bool(told)


# States -----------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "wanted"), [*itertools.product(S, S)], ids=lambda s: s.value)
def test_the_moves_of_a_node(now, wanted):
    if (now, wanted) in ALLOWED:
        check_move("PC1", now, wanted)
    else:
        with pytest.raises(Conflict) as refused:
            check_move("PC1", now, wanted)
        for word in ("PC1", now.value, wanted.value):
            assert word in refused.value.message


def test_each_state_has_moves_and_a_word_on_the_wire():
    assert set(MOVES) == set(WIRE_STATUS) == set(S)
    assert {s.value: word for s, word in WIRE_STATUS.items()} == {
        "stopped": "stopped",
        "starting": "stopped",
        "started": "started",
        "suspended": "suspended",
        "stopping": "started",
    }


# Numbers ----------------------------------------------------------------------------


@pytest.mark.statement("VPCS-20", "VPCS-21")
def test_numbers_go_up_and_one_that_came_back_goes_first():
    numbers = Numbers(range(5))
    assert [numbers.take() for _ in range(4)] == [0, 1, 2, 3]
    numbers.give_back(0)
    numbers.give_back(1)
    assert [numbers.take() for _ in range(4)] == [1, 0, 4, None]
    numbers.give_back(2)
    assert numbers.take() == 2


def test_a_number_that_is_wanted_is_taken_only_once():
    numbers = Numbers(range(3))
    assert numbers.take(2) == 2
    assert numbers.take(2) is None
    assert numbers.take(7) is None
    assert [numbers.take() for _ in range(3)] == [0, 1, None]


# Files ------------------------------------------------------------------------------

CONTENT = {"startup.vpc": b"set pcname PC1\n", "other": b"\0\xff"}


def test_files_are_staged_beside_and_then_replaced(tmp_path):
    directory = tmp_path / "a" / "b"
    files.stage(directory, {"startup.vpc": b"old"})
    files.replace(directory, {"startup.vpc": b""})
    files.stage(directory, CONTENT)
    assert (directory / "startup.vpc").read_bytes() == b"old"
    assert not (directory / "other").exists()
    files.replace(directory, CONTENT)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENT


def test_staging_that_fails_puts_nothing_in_place(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        files.stage(tmp_path / "a" / "b", CONTENT)
    (tmp_path / "startup.vpc.new").mkdir()
    with pytest.raises(IsADirectoryError):
        files.stage(tmp_path, CONTENT)
    assert not (tmp_path / "startup.vpc").exists()


@pytest.mark.parametrize("obstacle", [Path.touch, os.mkfifo, lambda path: path.symlink_to("other")])
def test_what_is_in_the_way_of_a_staged_file_is_replaced(tmp_path, obstacle):
    (tmp_path / "other").write_text("as it was")
    obstacle(tmp_path / "startup.vpc.new")
    files.stage(tmp_path, {"startup.vpc": b"new"})
    files.replace(tmp_path, {"startup.vpc": b"new"})
    assert (tmp_path / "startup.vpc").read_bytes() == b"new"
    assert (tmp_path / "other").read_text() == "as it was"


def test_directories_are_made_with_their_parents(tmp_path):
    for _ in range(2):
        files.make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        files.make_directory(tmp_path / "file")


# NIOs -------------------------------------------------------------------------------


@pytest.mark.statement("NIO-04")
def test_a_nio_keeps_its_values():
    nio = Nio("nio_udp", {"lport": 4242, "rhost": "127.0.0.1", "rport": 4343})
    assert nio.wire() == {
        "type": "nio_udp",
        "lport": 4242,
        "rhost": "127.0.0.1",
        "rport": 4343,
    }
    assert NioType(name="nio_udp", schema=Schema, local_udp_port="lport").udp_port(nio) == 4242
    assert NioType(name="nio_tap", schema=Schema).udp_port(nio) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("10.1.2.3", "10.1.2.3"), ("localhost", "127.0.0.1")],
)
async def test_hosts_become_ipv4_addresses(host, address):
    assert await resolve_ipv4(host) == address


@pytest.mark.parametrize(
    "host", ["nowhere.invalid", "::1", "a..b", "x" * 300, "\udcff", "a\0b", ""]
)
async def test_a_host_without_an_ipv4_address_is_refused(host, monkeypatch):
    unknown_host(monkeypatch, "nowhere.invalid")
    with pytest.raises(Conflict, match="has no IPv4 address"):
        await resolve_ipv4(host)
