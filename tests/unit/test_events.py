"""The hub: everybody gets every event, nobody waits for anybody, every stream ends."""

import asyncio
import json

import pytest
from waiting import settled

from gns3server.errors import Conflict
from gns3server.events import PING_LINE, EventBus, Listener, event_line

NEVER = 3600.0


def quiet_hub(**options) -> EventBus:
    """A hub that sends no pings but the first."""
    return EventBus(**{"ping_after": NEVER, **options})


async def read_all(listener: Listener) -> list[bytes]:
    return [line async for line in listener]


async def queued(listener: Listener) -> list[bytes]:
    """All lines that wait for a listener: it takes them."""
    found: list[bytes] = []
    lines = aiter(listener)
    while True:
        reading = asyncio.ensure_future(anext(lines, None))
        await settled()
        reading.cancel()
        await asyncio.wait({reading})
        if reading.cancelled() or (line := reading.result()) is None:
            return found
        found.append(line)


@pytest.mark.statement("NOTIF-01", "NOTIF-02")
async def test_the_exact_bytes_of_the_contract():
    hub = quiet_hub()
    with hub.listen("p") as listener:
        hub.publish("p", event_line("vm.created", {"a": "b"}))
        hub.close()
        assert b"".join(await read_all(listener)) == (
            b'{"action": "ping"}\n{"action": "vm.created", "event": {"a": "b"}}\n'
        )


@pytest.mark.parametrize(
    "event",
    [
        {"message": "two\nlines", "b": 1, "a": None},
        {"message": "Zürich \U0001f600 \u2028"},
        {"z": {"y": [1, 2]}, "a": ""},
    ],
)
def test_an_event_is_one_line_with_sorted_keys_whatever_it_holds(event):
    line = event_line("log.error", event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == {"action": "log.error", "event": event}
    assert list(json.loads(line)["event"]) == sorted(event)


@pytest.mark.statement("NOTIF-11", "NOTIF-12")
async def test_who_hears_what():
    hub = quiet_hub()
    with hub.listen("p") as first, hub.listen("p") as second, hub.listen() as everywhere:
        with hub.listen("q") as other:
            hub.publish("p", event_line("one", {}))
            hub.publish("q", event_line("two", {}))
            one, two = event_line("one", {}), event_line("two", {})
            assert await queued(first) == await queued(second) == [PING_LINE, one]
            assert await queued(other) == [PING_LINE, two]
            assert await queued(everywhere) == [PING_LINE, one, two]
        hub.publish("q", event_line("three", {}))
        assert await queued(other) == []


@pytest.mark.statement("NOTIF-04")
def test_silence_lasts_five_seconds():
    assert EventBus().ping_after == 5.0


async def test_silence_is_broken_by_pings():
    hub = EventBus(ping_after=0.01)
    with hub.listen() as listener:
        lines = aiter(listener)
        assert [await anext(lines) for _ in range(4)] == [PING_LINE] * 4


async def test_an_event_comes_without_waiting_for_the_ping():
    hub = quiet_hub()
    with hub.listen() as listener:
        lines = aiter(listener)
        assert await anext(lines) == PING_LINE
        waiting = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        hub.publish("p", event_line("one", {}))
        assert await waiting == event_line("one", {})


async def test_no_timer_is_left_when_an_event_comes_first():
    hub = EventBus(ping_after=0.01)
    with hub.listen() as listener:
        lines = aiter(listener)
        await anext(lines)
        for _ in range(3):
            waiting = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0)
            hub.publish("p", event_line("one", {}))
            await waiting
        # One ping for this silence, not one for each event before it.
        assert await anext(lines) == PING_LINE
        hub.close()
        assert [line async for line in lines] == []


# Falling behind -----------------------------------------------------------------


async def test_who_falls_behind_is_told_and_ended_and_others_notice_nothing():
    hub = quiet_hub(queue_lines=3)
    with hub.listen("p") as slow, hub.listen("p") as quick:
        lines, got = aiter(quick), []
        for number in range(5):
            hub.publish("p", event_line(f"{number}", {}))
            got.append(await anext(lines))
        got.append(await anext(lines))
        assert got == [PING_LINE, *(event_line(f"{n}", {}) for n in range(5))]
        assert not quick.ended
        (last,) = await read_all(slow)
        assert json.loads(last)["action"] == "log.error"
        assert "fell too far behind" in json.loads(last)["event"]["message"]
        hub.publish("p", event_line("later", {}))
        assert await read_all(slow) == []


async def test_as_many_lines_as_the_bound_says_may_wait():
    hub = quiet_hub(queue_lines=3)
    with hub.listen() as listener:
        for number in range(2):
            hub.publish("p", event_line(f"{number}", {}))
        assert len(await queued(listener)) == 3
        assert not listener.ended


async def test_whoever_serves_a_listener_is_told_once_that_it_ended():
    hub = quiet_hub(queue_lines=1)
    with hub.listen("p") as listener:
        told = []
        listener.on_end = lambda: told.append(1)
        hub.publish("p", event_line("one", {}))
        hub.publish("p", event_line("two", {}))
        hub.end_project("p")
        hub.close()
        assert told == [1]


# Ends ---------------------------------------------------------------------------


async def test_the_end_of_a_project_ends_its_streams_after_what_was_queued():
    hub = quiet_hub()
    with hub.listen("p") as listener, hub.listen("q") as other, hub.listen() as everywhere:
        hub.publish("p", event_line("last", {}))
        hub.end_project("p")
        hub.publish("p", event_line("too late", {}))
        assert await read_all(listener) == [PING_LINE, event_line("last", {})]
        assert not other.ended
        assert not everywhere.ended
        hub.end_project("nobody listens to this one")


@pytest.mark.parametrize("project", ["p", None])
async def test_closing_wakes_those_who_wait(project):
    hub = quiet_hub()
    with hub.listen(project) as listener:
        reading = asyncio.ensure_future(read_all(listener))
        await asyncio.sleep(0)
        assert not reading.done()
        hub.close()
        assert await reading == [PING_LINE]


async def test_who_comes_after_the_close_gets_an_end_at_once():
    hub = quiet_hub()
    hub.close()
    with hub.listen("p") as listener:
        assert await read_all(listener) == [PING_LINE]


# Counting -----------------------------------------------------------------------


async def test_listeners_are_counted_by_project_and_forgotten():
    hub = quiet_hub()
    with hub.listen("p"), hub.listen(), hub.listen("q"):
        with hub.listen("p"):
            assert hub.listeners("p") == 2
        assert hub.listeners("p") == 1
        assert hub.listeners("nobody") == 0
    assert hub.listeners("p") == 0
    assert hub.listeners() == 0
    assert hub.projects == frozenset()


async def test_who_has_hung_up_does_not_count():
    hub = quiet_hub()
    with hub.listen("p") as first, hub.listen("p"):
        first.connected = lambda: False
        assert hub.listeners("p") == 1


async def test_there_is_a_limit_and_a_place_comes_back():
    hub = quiet_hub(max_listeners=2)
    with hub.listen("p"):
        with hub.listen():
            for project in ("p", "q", None):
                with pytest.raises(Conflict, match="2 listeners"), hub.listen(project):
                    pass
        with hub.listen("q"):
            pass
    assert hub.projects == frozenset()


async def test_a_listener_that_fails_is_forgotten():
    hub = quiet_hub()
    with pytest.raises(ZeroDivisionError), hub.listen("p"):
        raise ZeroDivisionError
    assert hub.listeners("p") == 0
