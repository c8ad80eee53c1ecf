"""The wire between the server and its helpers: calls, events, descriptors, and hostile ends."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from waiting import settled, until

from gns3server.running import control, helper_client
from gns3server.running.control import Caller, ControlServer, Takeover
from gns3server.running.helper_client import HelperClient, HelperFailed

Connect = Callable[[], Awaitable[HelperClient]]


class Helper:
    """A helper's end, with calls that tests need."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended = 0
        self.go_on = asyncio.Event()
        self.server = ControlServer(
            str(path),
            kind="tests",
            protocol=3,
            handlers={
                "echo": self._echo,
                "length": self._length,
                "wait": self._wait,
                "refuse": self._refuse,
                "fail": self._fail,
                "read": self._read,
                "shout": self._shout,
            },
            ended=self._count,
        )

    def _count(self) -> None:
        self.ended += 1

    async def gone(self) -> None:
        """Wait until nobody is connected."""

        async def are_all_gone() -> bool:
            return not self.server.callers

        await until(are_all_gone)

    async def _echo(self, caller: Caller, what: Mapping[str, Any]) -> Any:
        return what

    async def _length(self, caller: Caller, what: Mapping[str, Any]) -> int:
        return len(what["text"])

    async def _wait(self, caller: Caller, what: Mapping[str, Any]) -> None:
        await self.go_on.wait()

    async def _refuse(self, caller: Caller, what: Mapping[str, Any]) -> None:
        raise ValueError("it is not to be had")

    async def _fail(self, caller: Caller, what: Mapping[str, Any]) -> None:
        raise ZeroDivisionError

    async def _read(self, caller: Caller, what: Mapping[str, Any]) -> str:
        """Read from the descriptor that has come."""
        descriptor = caller.take_descriptor()
        try:
            return os.read(descriptor, 100).decode()
        finally:
            os.close(descriptor)

    async def _shout(self, caller: Caller, what: Mapping[str, Any]) -> Takeover:
        async def carry_on(caller: Caller) -> None:
            while data := await caller.read():
                caller.write(data.upper())
            await caller.flush()

        return Takeover("louder", carry_on)


@pytest.fixture
async def helper(tmp_path: Path) -> AsyncIterator[Helper]:
    helper = Helper(tmp_path / "control")
    helper.server.listen()
    yield helper
    helper.server.close()
    await helper.gone()


@pytest.fixture
async def connect(helper: Helper) -> AsyncIterator[Connect]:
    """Connects as a server does."""
    clients = []

    async def connect() -> HelperClient:
        reader, writer = await asyncio.open_unix_connection(helper.path, limit=control.MAX_LINE)
        clients.append(await HelperClient.connect(reader, writer, "tests"))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()
        await client.writer.wait_closed()


@pytest.fixture
async def client(connect: Connect) -> HelperClient:
    client = await connect()
    client.listen(lambda *_: None)
    return client


async def test_helper_says_first_what_it_is(helper: Helper, connect: Connect) -> None:
    assert (await connect()).greeting == {"protocol": 3, "kind": "tests", "pid": os.getpid()}
    reader, writer = await asyncio.open_unix_connection(helper.path)
    with pytest.raises(HelperFailed, match="no relays helper answers: it is of the kind 'tests'"):
        await HelperClient.connect(reader, writer, "relays")
    await writer.wait_closed()


async def test_only_its_user_reaches_it(helper: Helper) -> None:
    assert stat.S_IMODE(helper.path.stat().st_mode) == 0o600


async def test_socket_of_a_dead_helper_is_replaced(helper: Helper, tmp_path: Path) -> None:
    path = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    another = Helper(path)
    another.server.listen()
    _, writer = await asyncio.open_unix_connection(path)
    writer.close()
    await another.gone()
    another.server.close()
    assert not path.exists()


async def test_calls_are_answered(client: HelperClient) -> None:
    assert await client.call("echo", {"a": ["\u20ac", None]}) == {"a": ["\u20ac", None]}
    texts = ["x" * 3_000_000, "y", "z" * 100_000]
    answers = await asyncio.gather(*(client.call("echo", {"text": text}) for text in texts))
    assert [answer["text"] for answer in answers] == texts


async def test_refusals_and_faults_are_told_and_end_nothing(client: HelperClient) -> None:
    with pytest.raises(HelperFailed, match="it is not to be had"):
        await client.call("refuse", {})
    with pytest.raises(HelperFailed, match="the call 'fail' has failed: ZeroDivisionError"):
        await client.call("fail", {})
    with pytest.raises(HelperFailed, match="there is no call 'dance'"):
        await client.call("dance", {})
    with pytest.raises(HelperFailed, match="no descriptor came with this call"):
        await client.call("read", {})
    assert await client.call("length", {"text": "abc"}) == 3


async def test_descriptors_come_with_their_call(client: HelperClient) -> None:
    pipes = [os.pipe() for _ in range(3)]
    try:
        for number, (_, end) in enumerate(pipes):
            os.write(end, b"pipe %d" % number)
        # Much is under way before and after them, and answers are waited for later.
        calls = [
            client.call("length", {"text": "x" * 1_000_000}),
            client.call("read", {}, [pipes[0][0]]),
            client.call("read", {"more": "y" * 1_000_000}, [pipes[1][0]]),
            client.call("length", {"text": ""}),
            client.call("read", {}, [pipes[2][0]]),
        ]
        assert await asyncio.gather(*calls) == [1_000_000, "pipe 0", "pipe 1", 0, "pipe 2"]
    finally:
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)


async def test_events_are_told_to_those_who_listen(helper: Helper, connect: Connect) -> None:
    told: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue()
    listening, deaf = await connect(), await connect()
    listening.listen(lambda *event: told.put_nowait(event))
    deaf.listen(lambda *event: told.put_nowait(event))
    await listening.call("listen", {})
    helper.server.tell("began", {"a": 1})
    helper.server.tell("ended", {})
    assert [await told.get(), await told.get()] == [("began", {"a": 1}), ("ended", {})]
    await deaf.call("echo", {})
    assert told.empty()


async def test_listener_that_does_not_read_is_dropped_and_delays_nobody(
    helper: Helper, connect: Connect, client: HelperClient
) -> None:
    stuck = await connect()
    stuck.listen(lambda *_: None)
    await stuck.call("listen", {})
    # It stops reading here: nothing is read that does not fit into its buffers.
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(40):
        helper.server.tell("much", {"text": "x" * 1024 * 1024})
        await client.call("echo", {})

    async def is_dropped() -> bool:
        return helper.server.callers == 1

    await until(is_dropped)
    assert await client.call("length", {"text": "abc"}) == 3


async def test_one_that_does_not_answer_is_given_up(
    helper: Helper, client: HelperClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper_client, "CALL_SECONDS", 0.01)
    with pytest.raises(HelperFailed, match="has not answered within"):
        await client.call("wait", {})
    monkeypatch.undo()
    helper.go_on.set()
    # Its late answer is nobody's.
    assert await client.call("length", {"text": "abc"}) == 3


async def test_loss_is_told_to_everybody_who_waits(helper: Helper, connect: Connect) -> None:
    client, ended = await connect(), asyncio.Event()
    client.listen(lambda *_: None, ended.set)
    await client.call("echo", {})
    waiting = asyncio.create_task(client.call("wait", {}))
    await settled()
    helper.server.close()
    with pytest.raises(HelperFailed, match="it has hung up"):
        await waiting
    await ended.wait()
    assert helper.ended == 1


async def test_call_can_make_the_connection_a_stream(helper: Helper, connect: Connect) -> None:
    client = await connect()
    assert await client.take_over("shout", {}) == "louder"
    client.writer.write(b"hello\n")
    assert await client.reader.readexactly(6) == b"HELLO\n"
    client.writer.write(b"x" * 1_000_000)
    client.writer.write_eof()
    assert await client.reader.read() == b"X" * 1_000_000
    assert helper.ended == 1


async def test_stream_that_is_refused_says_why(connect: Connect) -> None:
    client = await connect()
    with pytest.raises(HelperFailed, match="it is not to be had"):
        await client.take_over("refuse", {})


async def test_bytes_that_came_with_the_call_belong_to_the_stream(helper: Helper) -> None:
    reader, writer = await asyncio.open_unix_connection(helper.path)
    writer.write(b'{"call": "shout", "id": 1}\nmore')
    writer.write_eof()
    assert (await reader.read()).endswith(b'{"id": 1, "result": "louder"}\nMORE')
    writer.close()
    await writer.wait_closed()


async def test_who_comes_while_no_descriptor_is_left_is_served_later(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PAUSE_SECONDS", 0.01)
    accept = socket.socket.accept
    failures = [OSError(errno.EMFILE, "too many open files")]

    def fail_once(listening: socket.socket) -> tuple[socket.socket, Any]:
        if failures:
            raise failures.pop()
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", fail_once)
    assert (await connect()).greeting["kind"] == "tests"
    assert not failures


async def test_who_waits_for_a_descriptor_keeps_nobody_busy(
    helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def fail(listening: socket.socket) -> None:
        attempts.append(listening)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket.socket, "accept", fail)
    _, writer = await asyncio.open_unix_connection(helper.path)
    await settled()
    writer.close()
    assert len(attempts) == 1


@pytest.mark.parametrize(
    "said",
    [b"\n", b"[]\n", b"7\n", b"\xff\n", b"{\n", b"[" * 100_000 + b"\n", b"half a line"],
)
async def test_who_talks_nonsense_is_hung_up_on(
    helper: Helper, client: HelperClient, said: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(helper.path)
    writer.write(said)
    writer.write_eof()
    assert (await reader.read()).count(b"\n") == 1
    writer.close()
    await writer.wait_closed()
    assert await client.call("length", {"text": "abc"}) == 3


async def test_line_without_end_is_given_up(
    helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_LINE", 100_000)
    reader, writer = await asyncio.open_unix_connection(helper.path)
    writer.write(b"x" * 200_000)
    assert (await reader.readline()).startswith(b"{")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()


async def test_answer_of_an_impostor_is_no_answer(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"kind": "tests", "protocol": 3, "pid": 1}\n')
        await reader.readline()
        writer.write(b"no json\n")
        writer.close()

    path = tmp_path / "impostor"
    async with await asyncio.start_unix_server(serve, path):
        client = await HelperClient.connect(*await asyncio.open_unix_connection(path), "tests")
        client.listen(lambda *_: None)
        with pytest.raises(HelperFailed, match="it has hung up"):
            await client.call("echo", {})
        client.close()
        await client.writer.wait_closed()
