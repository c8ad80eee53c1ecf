"""The report at the end of a run of pytest: which requirements are met, by suite."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

PROPERTY = "gns3_requirement"
"""The property of a test's report that names the suite and the requirement."""

OUTCOMES = {"passed": "met", "skipped": "not needed", "failed": "NOT MET", "error": "NOT MET"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which requirement a test of a suite stands for."""
    suite = getattr(item, "cls", None)
    if getattr(suite, "gns3_requirements", False):
        name = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        item.user_properties.append((PROPERTY, (getattr(suite, "__name__", ""), name)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say of each suite which of its requirements are met."""
    lines = [*report_lines(outcomes(terminalreporter.stats))]
    if lines:
        terminalreporter.section("requirements of gns3server")
        for line in lines:
            terminalreporter.line(line)


def outcomes(stats: Any) -> Iterator[tuple[str, str, str]]:
    """The suite, the requirement and the outcome of each test that stands for one.

    :param stats: the reports of all tests, by outcome.
    """
    for outcome, meaning in OUTCOMES.items():
        for report in stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    yield *value, meaning


def report_lines(found: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """The report: a line for each suite, and one for each requirement that is not met."""
    suites: dict[str, dict[str, str]] = defaultdict(dict)
    for suite, requirement, meaning in found:
        # A test that has passed may have failed to clean up: that comes last, and counts.
        suites[suite][requirement] = meaning
    for suite, met in sorted(suites.items()):
        counts = ((meaning, list(met.values()).count(meaning)) for meaning in ("met", "not needed"))
        missing = sorted(name for name, meaning in met.items() if meaning == "NOT MET")
        texts = [f"{count} {meaning}" for meaning, count in counts if count]
        texts += [f"{len(missing)} NOT MET"] if missing else []
        yield f"{suite}: {', '.join(texts)}"
        yield from (f"    not met: {name}" for name in missing)
