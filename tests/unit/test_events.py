"""The bus: everybody gets every event, nobody waits for anybody, every stream ends."""

import asyncio
import json

import pytest

from gns3server.errors import Conflict
from gns3server.events import Event, EventBus, Listener, LogEntry, same
from gns3server.http import notifications
from gns3server.http.notifications import PING_LINE, V1Translator, event_line, lines
from gns3server.nodes.registry import Registry

TRANSLATE = V1Translator(Registry())


def event(word: str, project: str = "p", **values: str) -> Event:
    return Event("test", word, project, values)


def line(word: str, **values: str) -> bytes:
    """What v1 makes of that event."""
    return event_line(f"test.{word}", values)


def listening(bus: EventBus, project: str | None = None):
    """A listener of the v1 API."""
    return bus.listen(project, translate=TRANSLATE, size=len)


async def read_all(listener: Listener[bytes]) -> list[bytes]:
    return [line async for line in lines(listener)]


def queued(listener: Listener[bytes]) -> list[bytes]:
    return [line for line, _ in listener.queued]


@pytest.mark.statement("NOTIF-01", "NOTIF-02")
async def test_the_exact_bytes_of_the_contract():
    hub = EventBus()
    with listening(hub, "p") as listener:
        hub.publish(Event("vm", "created", "p", {"a": "b"}))
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
    hub = EventBus()
    with listening(hub, "p") as first, listening(hub, "p") as second, listening(hub) as everywhere:
        with listening(hub, "q") as other:
            hub.publish(event("one", "p"))
            hub.publish(event("two", "q"))
            one, two = line("one"), line("two")
            assert queued(first) == queued(second) == [one]
            assert queued(other) == [two]
            assert queued(everywhere) == [one, two]
        hub.publish(event("three", "q"))
        assert queued(other) == [two]


@pytest.mark.statement("NOTIF-04")
async def test_silence_lasts_five_seconds(monkeypatch):
    loop, waits = asyncio.get_running_loop(), []

    def call_now(delay, *call):
        waits.append(delay)
        return loop.call_at(loop.time(), *call)

    monkeypatch.setattr(loop, "call_later", call_now)
    with listening(EventBus()) as listener:
        told = lines(listener)
        assert [await anext(told) for _ in range(3)] == [PING_LINE] * 3
    assert waits == [5.0, 5.0]


async def test_silence_is_broken_by_pings(monkeypatch):
    monkeypatch.setattr(notifications, "PING_AFTER", 0.01)
    hub = EventBus()
    with listening(hub) as listener:
        told = lines(listener)
        assert [await anext(told) for _ in range(4)] == [PING_LINE] * 4


async def test_an_event_comes_without_waiting_for_the_ping():
    hub = EventBus()
    with listening(hub) as listener:
        told = lines(listener)
        assert await anext(told) == PING_LINE
        waiting = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0)
        hub.publish(event("one", "p"))
        assert await waiting == line("one")


async def test_no_timer_is_left_when_an_event_comes_first(monkeypatch):
    monkeypatch.setattr(notifications, "PING_AFTER", 0.01)
    hub = EventBus()
    with listening(hub) as listener:
        told = lines(listener)
        await anext(told)
        for _ in range(3):
            waiting = asyncio.ensure_future(anext(told))
            await asyncio.sleep(0)
            hub.publish(event("one", "p"))
            await waiting
        # One ping for this silence, not one for each event before it.
        assert await anext(told) == PING_LINE
        assert queued(listener) == []


# Falling behind -----------------------------------------------------------------


async def test_who_falls_behind_is_told_and_ended_and_others_notice_nothing():
    hub = EventBus(queue_length=3)
    with listening(hub, "p") as slow, listening(hub, "p") as quick:
        told, got = lines(quick), []
        for number in range(5):
            hub.publish(event(f"{number}", "p"))
            got.append(await anext(told))
        got.append(await anext(told))
        assert got == [PING_LINE, *(line(f"{n}") for n in range(5))]
        assert not quick.ended
        _, last = await read_all(slow)
        assert json.loads(last)["action"] == "log.error"
        assert "fell too far behind" in json.loads(last)["event"]["message"]
        hub.publish(event("later", "p"))
        assert queued(slow) == []


async def test_as_many_lines_as_the_bound_says_may_wait():
    hub = EventBus(queue_length=3)
    with listening(hub) as listener:
        for number in range(2):
            hub.publish(event(f"{number}", "p"))
        assert len(queued(listener)) == 2
        hub.publish(event("2", "p"))
        assert len(queued(listener)) == 3
        assert not listener.ended


async def test_whoever_serves_a_listener_is_told_once_that_it_ended():
    hub = EventBus(queue_length=1)
    with listening(hub, "p") as listener:
        told = []
        listener.on_end = lambda: told.append(1)
        hub.publish(event("one", "p"))
        hub.publish(event("two", "p"))
        hub.end_project("p")
        hub.close()
        assert told == [1]


# Ends ---------------------------------------------------------------------------


async def test_the_end_of_a_project_ends_its_streams_after_what_was_queued():
    hub = EventBus()
    with (
        listening(hub, "p") as listener,
        listening(hub, "q") as other,
        listening(hub) as everywhere,
    ):
        hub.publish(event("last", "p"))
        hub.end_project("p")
        hub.publish(event("too late", "p"))
        assert await read_all(listener) == [PING_LINE, line("last")]
        assert not other.ended
        assert not everywhere.ended
        hub.end_project("nobody listens to this one")


@pytest.mark.parametrize("project", ["p", None])
async def test_closing_wakes_those_who_wait(project):
    hub = EventBus()
    with listening(hub, project) as listener:
        reading = asyncio.ensure_future(read_all(listener))
        await asyncio.sleep(0)
        assert not reading.done()
        hub.close()
        assert await reading == [PING_LINE]


async def test_who_comes_after_the_close_gets_an_end_at_once():
    hub = EventBus()
    hub.close()
    with listening(hub, "p") as listener:
        assert await read_all(listener) == [PING_LINE]


# Counting -----------------------------------------------------------------------


async def test_listeners_are_counted_by_project_and_forgotten():
    hub = EventBus()
    with listening(hub, "p"), listening(hub), listening(hub, "q"):
        with listening(hub, "p"):
            assert hub.listeners("p") == 2
        assert hub.listeners("p") == 1
        assert hub.listeners("nobody") == 0
    assert hub.listeners("p") == 0
    assert len(hub) == 0


async def test_who_has_hung_up_does_not_count():
    hub = EventBus()
    with listening(hub, "p") as first, listening(hub, "p"):
        first.connected = lambda: False
        assert hub.listeners("p") == 1


async def test_there_is_a_limit_and_a_place_comes_back():
    hub = EventBus(max_listeners=2)
    with listening(hub, "p"):
        with listening(hub):
            for project in ("p", "q", None):
                with pytest.raises(Conflict, match="2 listeners"), listening(hub, project):
                    pass
        with listening(hub, "q"):
            pass
    assert len(hub) == 0


async def test_a_listener_that_fails_is_forgotten():
    hub = EventBus()
    with pytest.raises(ZeroDivisionError), listening(hub, "p"):
        raise ZeroDivisionError
    assert hub.listeners("p") == 0


# Translators ----------------------------------------------------------------------


async def test_a_translator_is_called_once_an_event_however_many_listen():
    hub, asked = EventBus(), []

    def translate(event: Event) -> str | None:
        asked.append(event)
        return None if event.change == "secret" else event.change

    with (
        hub.listen("p", translate=translate) as first,
        hub.listen(translate=translate) as second,
        hub.listen(translate=same) as plain,
    ):
        events = [event("one"), event("secret"), event("two")]
        hub.publish(events[0], 7)
        hub.publish(events[1])
        hub.publish(events[2], 8, {translate: "known"})
        assert asked == events[:2]
        assert [*first.taken()] == [*second.taken()] == [("one", 7), ("known", 8)]
        assert [*plain.taken()] == [(events[0], 7), (events[1], None), (events[2], 8)]


async def test_a_translator_that_fails_keeps_nobody_from_hearing(caplog):
    hub = EventBus()
    with hub.listen("p", translate=lambda _: 1 / 0) as broken, listening(hub, "p") as listener:
        hub.publish(event("one"))
        assert queued(listener) == [line("one")]
        assert [*broken.taken()] == []
    assert "test one cannot be told to some listeners" in caplog.text


async def test_events_can_be_iterated_over_as_they_are():
    hub = EventBus()
    with hub.listen("p", translate=same) as listener:
        hub.publish(event("one"))
        hub.end_project("p")
        assert [told async for told in listener] == [event("one")]


def test_what_v1_does_not_know_it_does_not_tell():
    assert TRANSLATE(Event("node", "created", "p", object())) is None
    assert json.loads(TRANSLATE(Event("log", "error", "p", LogEntry("broken"))) or b"") == {
        "action": "log.error",
        "event": {"message": "broken", "project_id": "p"},
    }
