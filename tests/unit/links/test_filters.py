"""The table of filters, the check of what is asked for, and what filters do to frames."""

from __future__ import annotations

import re
from collections import Counter, deque

import pytest

from gns3server.links.filters import FILTERS, check_filters
from gns3server.links.panel.impairments import (
    MILLISECOND,
    Pace,
    for_direction,
    generator_for,
    make_impairment,
)

FRAMES = [number.to_bytes(60, "big") for number in range(10_000)]
SECOND = 1000 * MILLISECOND


def impairment(name, seed=1, direction="first", **values):
    affected: Counter[str] = Counter()
    made = make_impairment(name, values, generator_for(seed, direction, name), affected)
    return made, affected


def pace(rate=None, delay=None, seed=1):
    affected: Counter[str] = Counter()
    made = Pace(rate or {}, delay or {}, generator_for(seed, "first", "delay"), affected)
    return made, affected


# What is asked for ----------------------------------------------------------------


def test_filters_are_completed_and_put_into_the_order_in_which_frames_pass_them():
    assert check_filters({"delay": {"latency": 10}, "packet_loss": {"chance": 0.5}}) == {
        "packet_loss": {"chance": 0.5, "direction": "both"},
        "delay": {"latency": 10, "jitter": 0, "direction": "both"},
    }


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"bpf": {}}, "there is no filter 'bpf': there are frequency_drop, packet_loss, corrupt"),
        ({"delay": [1, 2]}, "the filter 'delay' must be an object of its parameters"),
        ({"delay": {}}, "'latency' of the filter 'delay' is missing"),
        ({"delay": {"latency": "1"}}, "'latency' of the filter 'delay' must be a number from 0"),
        ({"delay": {"latency": 32768}}, "must be a number from 0 to 32767"),
        ({"packet_loss": {"chance": -0.1}}, "must be a number from 0 to 100"),
        ({"packet_loss": {"chance": float("nan")}}, "must be a number from 0 to 100"),
        ({"packet_loss": {"chance": True}}, "must be a number from 0 to 100"),
        ({"frequency_drop": {"frequency": 1.5}}, "must be a whole number from -1 to 32767"),
        (
            {"delay": {"latency": 1, "loss": 2}},
            "the filter 'delay' has no parameter 'loss'",
        ),
        ({"delay": {"latency": 1, "direction": "up"}}, "must be one of both, first, second"),
        ({"delay": {"latency": 1, "direction": []}}, "must be one of both, first, second"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_with_its_name(filters, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_filters(filters)


def test_each_filter_has_a_sentence_and_parameters_whose_bounds_it_accepts():
    for each in FILTERS:
        assert each.description.endswith(".")
        for bound in ("minimum", "maximum"):
            values = {one.name: getattr(one, bound) for one in each.parameters}
            assert check_filters({each.type: values}) == {
                each.type: {**values, "direction": "both"}
            }


def test_a_filter_is_for_the_frames_of_one_end_or_of_both_and_off_when_it_does_nothing():
    filters = check_filters(
        {
            "delay": {"latency": 0, "jitter": 1, "direction": "second"},
            "packet_loss": {"chance": 5, "direction": "first"},
            "corrupt": {"chance": 0},
            "rate": {"kbit_per_s": 0},
            "frequency_drop": {"frequency": 0},
        }
    )
    assert list(for_direction(filters, "first")) == ["packet_loss"]
    assert list(for_direction(filters, "second")) == ["delay"]


# What is lost ---------------------------------------------------------------------


def test_every_third_frame_is_lost_however_they_come():
    lose, affected = impairment("frequency_drop", frequency=3)
    kept = [frame for frame in FRAMES[:100] for frame in lose([frame])]
    kept += lose(FRAMES[100:200])
    assert kept == [frame for number, frame in enumerate(FRAMES[:200], 1) if number % 3]
    assert affected == {"frequency_drop": 66}


def test_minus_one_loses_every_frame():
    lose, _ = impairment("frequency_drop", frequency=-1)
    assert lose(FRAMES) == []


def test_the_same_frames_are_lost_for_the_same_seed_however_they_come():
    together, affected = impairment("packet_loss", chance=5)
    kept = together(FRAMES)
    singly, _ = impairment("packet_loss", chance=5)
    assert [frame for frame in FRAMES for frame in singly([frame])] == kept
    assert affected == {"packet_loss": len(FRAMES) - len(kept)}
    # Of this seed; the next one's, and the other direction's, are others.
    assert 450 <= len(FRAMES) - len(kept) <= 550
    assert impairment("packet_loss", chance=5, seed=2)[0](FRAMES) != kept
    assert impairment("packet_loss", chance=5, direction="second")[0](FRAMES) != kept


def test_all_frames_are_lost_with_certainty():
    lose, _ = impairment("packet_loss", chance=100)
    assert lose(FRAMES) == []


def test_one_bit_of_a_frame_is_turned_over_and_its_length_stays():
    damage, affected = impairment("corrupt", chance=100)
    damaged = damage([*FRAMES, b""])
    assert damaged.pop() == b""
    for before, after in zip(FRAMES, damaged, strict=True):
        assert len(before) == len(after)
        difference = int.from_bytes(before, "big") ^ int.from_bytes(after, "big")
        assert difference.bit_count() == 1
    assert affected == {"corrupt": len(FRAMES)}


def test_which_bits_are_turned_over_depends_on_the_seed_alone():
    kept = impairment("corrupt", chance=20)[0](FRAMES)
    singly, affected = impairment("corrupt", chance=20)
    assert [frame for frame in FRAMES for frame in singly([frame])] == kept
    assert 1900 <= affected["corrupt"] <= 2100


# When frames are due --------------------------------------------------------------


def test_a_delay_keeps_what_comes_together_together():
    made, _ = pace(delay={"latency": 10, "jitter": 0})
    assert made.plan(FRAMES, 5) == [(5 + 10 * MILLISECOND, FRAMES)]


def test_jitter_lets_no_frame_overtake_another_and_stays_within_its_bounds():
    made, _ = pace(delay={"latency": 10, "jitter": 4})
    times = []
    for number in range(5000):
        now = number * MILLISECOND // 10
        ((due, _),) = made.plan([b"frame"], now)
        assert now + 6 * MILLISECOND <= due <= now + 14 * MILLISECOND
        times.append(due)
    assert times == sorted(times)
    assert len(set(times)) > 100


def test_a_rate_sends_one_frame_after_the_other_and_loses_what_would_wait_too_long():
    # 1,000 bytes at 10 Mbit/s take 0.8 ms: the 13th frame would wait for 9.6 ms already gone.
    made, affected = pace(rate={"kbit_per_s": 10_000, "queue_ms": 10})
    frames = [bytes(1000)] * 20
    dues = [due for due, _ in made.plan(frames, 0)]
    assert dues == [number * 800_000 for number in range(1, 14)]
    assert affected == {"rate": 7}


def test_a_rate_is_kept_exactly_over_many_seconds():
    made, affected = pace(rate={"kbit_per_s": 10_000, "queue_ms": 200})
    passed = sum(
        due <= 10 * SECOND
        for number in range(200_000)
        for due, _ in made.plan([bytes(1000)], number * 50_000)
    )
    assert passed == 12_500
    assert affected["rate"] > 180_000


def test_a_rate_lets_a_frame_wait_for_none_when_there_is_no_queue():
    made, affected = pace(rate={"kbit_per_s": 8, "queue_ms": 0})
    assert made.plan([b"1", b"2"], 0) == [(MILLISECOND, [b"1"])]
    assert affected == {"rate": 1}


def test_what_waits_is_due_earlier_under_a_shorter_delay_and_never_later():
    queue = deque([(5, [b"1"]), (90 * MILLISECOND, [b"2"]), (91 * MILLISECOND, [b"3"])])
    made, _ = pace(delay={"latency": 20, "jitter": 0})
    taken = made.take_over(queue, 10 * MILLISECOND)
    assert [due for due, _ in taken] == [5, 30 * MILLISECOND, 30 * MILLISECOND]
    # And nothing new overtakes it.
    assert made.plan([b"4"], 9 * MILLISECOND)[0][0] == 30 * MILLISECOND
