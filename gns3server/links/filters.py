"""The filters of links: their parameters, units and ranges, and the check of what is asked for.

Plain data, for the API that describes and checks them and for the panel that applies them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIRECTION = "direction"
DIRECTIONS = ("both", "first", "second")
"""Whose frames a filter is for: those of both ends, of the first or of the second one."""

MILLISECONDS = 32767
"""The longest delay, as clients of other APIs know it."""

Values = dict[str, Any]
"""The parameters of one filter by name, complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a filter.

    :param whole: whether it must be a whole number.
    :param default: what it is when it is not given; ``None`` if it must be given.
    """

    name: str
    title: str
    unit: str
    minimum: int
    maximum: int
    default: int | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Something that a link can do to its frames.

    :param type: its name on the wire.
    :param description: what it does, in a sentence.
    """

    type: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]


FILTERS = (
    Filter(
        type="frequency_drop",
        title="Regular loss",
        description="Loses every n-th frame; 0 loses none, and -1 all of them.",
        parameters=(
            Parameter(
                name="frequency",
                title="Frequency",
                unit="th frame",
                minimum=-1,
                maximum=32767,
                whole=True,
            ),
        ),
    ),
    Filter(
        type="packet_loss",
        title="Random loss",
        description="Loses frames at random: each with this chance.",
        parameters=(Parameter(name="chance", title="Chance", unit="%", minimum=0, maximum=100),),
    ),
    Filter(
        type="corrupt",
        title="Corruption",
        description="Turns over one bit of a frame, at random: in each frame with this chance.",
        parameters=(Parameter(name="chance", title="Chance", unit="%", minimum=0, maximum=100),),
    ),
    Filter(
        type="rate",
        title="Rate",
        description=(
            "Carries so many kilobits of frames in a second, and lets a frame wait for its turn as "
            "long as the queue says; a frame that would wait longer is lost. 0 carries everything."
        ),
        parameters=(
            Parameter(
                name="kbit_per_s", title="Rate", unit="kbit/s", minimum=0, maximum=100_000_000
            ),
            Parameter(
                name="queue_ms",
                title="Queue",
                unit="ms",
                minimum=0,
                maximum=MILLISECONDS,
                default=100,
            ),
        ),
    ),
    Filter(
        type="delay",
        title="Delay",
        description=(
            "Keeps each frame back for the latency, more or less by up to the jitter. Frames never "
            "overtake one another."
        ),
        parameters=(
            Parameter(name="latency", title="Latency", unit="ms", minimum=0, maximum=MILLISECONDS),
            Parameter(
                name="jitter",
                title="Jitter",
                unit="ms",
                minimum=0,
                maximum=MILLISECONDS,
                default=0,
            ),
        ),
    ),
)
"""All filters, in the order in which a frame passes them."""


def check_filters(filters: Mapping[str, Any]) -> dict[str, Values]:
    """Check the filters of a link, and complete them with the parameters that are not given.

    :param filters: an object of parameters by the type of each filter.
    :raises ValueError: something is unknown, missing or out of range; the text says which.
    """
    known = {each.type: each for each in FILTERS}
    for name in filters:
        if name not in known:
            raise ValueError(f"there is no filter {name!r}: there are {', '.join(known)}")
    return {name: _values(known[name], filters[name]) for name in known if name in filters}


def _values(kind: Filter, given: Any) -> Values:
    if not isinstance(given, Mapping):
        raise ValueError(f"the filter {kind.type!r} must be an object of its parameters")
    names = [parameter.name for parameter in kind.parameters]
    for name in given:
        if name not in (*names, DIRECTION):
            raise ValueError(
                f"the filter {kind.type!r} has no parameter {name!r}: it has {', '.join(names)} "
                f"and {DIRECTION}"
            )
    direction = given.get(DIRECTION, DIRECTIONS[0])
    if direction not in DIRECTIONS:
        raise ValueError(
            f"the {DIRECTION} of the filter {kind.type!r} must be one of {', '.join(DIRECTIONS)}"
        )
    values = {each.name: _number(kind.type, each, given) for each in kind.parameters}
    return {**values, DIRECTION: direction}


def _number(filter_type: str, parameter: Parameter, given: Mapping[str, Any]) -> int | float:
    value = given.get(parameter.name, parameter.default)
    what = f"{parameter.name!r} of the filter {filter_type!r}"
    if value is None:
        raise ValueError(f"{what} is missing")
    kinds = (int,) if parameter.whole else (int, float)
    # A number that is none, nan, is in no range either.
    if (
        not isinstance(value, kinds)
        or isinstance(value, bool)
        or not parameter.minimum <= value <= parameter.maximum
    ):
        number = "a whole number" if parameter.whole else "a number"
        raise ValueError(f"{what} must be {number} from {parameter.minimum} to {parameter.maximum}")
    return value
