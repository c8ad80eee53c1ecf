"""What /proc and the kernel's socket tables say about real processes and sockets."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from faults import without_netlink

from gns3server.running import sockets
from gns3server.running.identity import ProcessIdentity, open_child, open_living
from gns3server.running.procfs import (
    RUN_ID_VARIABLE,
    parse_stat,
    processes,
    read_stat,
    run_id_carriers,
    socket_inodes,
)
from gns3server.running.sockets import bound_sockets, netlink_sockets, table_sockets
from gns3server.running.spec import Port

WAIT = "import sys; sys.stdin.read()"
WAIT_WITH_CHILD = (
    "import os, sys\npid = os.fork()\n"
    "if pid: print(pid, flush=True)\n"
    "sys.stdin.read()\n"
    "if pid: os.waitpid(pid, 0)"
)


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python programs that end when their stdin does, as it does in the end."""
    started = []

    def start(code: str, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "-S", "-c", code]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


def ended(process: subprocess.Popen[str]) -> None:
    """Wait until it is a zombie."""
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_reads_a_stat_line_whose_name_is_a_trap() -> None:
    rest = " ".join(str(number) for number in range(5, 60))
    stat = parse_stat(f"77 (a ) S 1 (b)) Z 42 {rest}\n".encode())
    assert (stat.pid, stat.parent, stat.start_time, stat.alive) == (77, 42, 22, False)


def test_knows_who_started_whom(child: Callable[..., subprocess.Popen[str]]) -> None:
    process = child(WAIT_WITH_CHILD)
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    table = processes()
    assert [stat.pid for stat in table.descendants([process.pid])] == [grandchild]
    assert {process.pid, grandchild} <= {stat.pid for stat in table.descendants([os.getpid()])}


def test_a_table_reads_newcomers_and_drops_the_dead(
    child: Callable[..., subprocess.Popen[str]],
) -> None:
    first = child(WAIT)
    table = processes()
    second = child(WAIT)
    first.communicate()
    found = {stat.pid for stat in table.refresh().descendants([os.getpid()])}
    assert second.pid in found
    assert first.pid not in found


def test_a_zombie_is_dead(child: Callable[..., subprocess.Popen[str]]) -> None:
    process = child(WAIT, **{RUN_ID_VARIABLE: "zombie"})
    handle = open_child(process.pid)
    assert handle is not None
    os.close(handle.fd)
    ended(process)
    assert read_stat(process.pid) is not None
    assert open_living([handle.identity]) == []
    assert process.pid not in {stat.pid for stat in processes().descendants([os.getpid()])}
    assert "zombie" not in run_id_carriers()


def test_finds_carriers_by_their_run_id(child: Callable[..., subprocess.Popen[str]]) -> None:
    run_id = f"carrier-{os.getpid()}"
    process = child(WAIT_WITH_CHILD, **{RUN_ID_VARIABLE: run_id, "X" + RUN_ID_VARIABLE: "other"})
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    found = {
        name: {stat.pid for stat in stats} & {process.pid, grandchild}
        for name, stats in run_id_carriers().items()
    }
    assert {name: pids for name, pids in found.items() if pids} == {
        run_id: {process.pid, grandchild}
    }


def test_an_identity_refers_to_one_process_only(
    child: Callable[..., subprocess.Popen[str]],
) -> None:
    handle = open_child(child(WAIT).pid)
    assert handle is not None
    os.close(handle.fd)
    identity = handle.identity
    (again,) = open_living([identity])
    assert again.identity == identity
    os.close(again.fd)
    other_time = ProcessIdentity(identity.pid, identity.start_time + 1, identity.boot_id)
    other_boot = ProcessIdentity(identity.pid, identity.start_time, "another boot")
    assert open_living([other_time, other_boot]) == []


def test_a_reaped_process_cannot_be_opened(child: Callable[..., subprocess.Popen[str]]) -> None:
    process = child(WAIT)
    handle = open_child(process.pid)
    assert handle is not None
    os.close(handle.fd)
    process.communicate()
    assert open_child(process.pid) is None
    assert open_living([handle.identity]) == []


@pytest.mark.parametrize("source", [netlink_sockets, table_sockets])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_both_sources_see_bound_sockets(
    source: Callable[[str], Iterator[sockets.BoundSocket]], family: int, kind: str
) -> None:
    type_ = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, type_) as bound:
        bound.bind(("", 0))
        if kind == "tcp":
            bound.listen()
        inode = os.fstat(bound.fileno()).st_ino
        assert inode in socket_inodes(os.getpid())
        assert (bound.getsockname()[1], inode) in list(source(kind))


@pytest.mark.parametrize("source", [netlink_sockets, table_sockets])
def test_a_tcp_connection_does_not_hold_its_port(
    source: Callable[[str], Iterator[sockets.BoundSocket]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)):
            accepted, _ = server.accept()
            with accepted:
                found = {inode for bound, inode in source("tcp") if bound == number}
                assert found == {os.fstat(server.fileno()).st_ino}


def test_goes_on_where_the_kernel_refuses_netlink(monkeypatch: pytest.MonkeyPatch) -> None:
    without_netlink(monkeypatch)
    with pytest.raises(OSError, match="not supported"):
        list(netlink_sockets("udp"))
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("", 0))
        port = Port("udp", bound.getsockname()[1])
        assert bound_sockets([port]) == {port: {os.fstat(bound.fileno()).st_ino}}
