"""Every statement of the contract is held by a test or is a documented exception."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = (ROOT / "tests", *sorted((ROOT / "plugins").glob("*/tests")))

MOST_CLAIMS = 3
"""Statements that one test may claim: who claims more holds none of them well."""

EXCEPTIONS_TITLE = "Statements of the contract that are not followed on purpose"


def statements(text: str) -> set[str]:
    """The ids that lines as ``LOCK 01-03 05`` stand for."""
    found = set()
    for line in text.splitlines():
        family, *numbers = line.partition("#")[0].split() or [""]
        for part in numbers:
            first, _, last = part.partition("-")
            found |= {f"{family}-{n:02}" for n in range(int(first), int(last or first) + 1)}
    return found


def exceptions(manual: str) -> dict[str, str]:
    """The ids that the page names as not followed, each with its reason."""
    _, _, rest = manual.partition(f"\n{EXCEPTIONS_TITLE}\n")
    section = re.split(r"\n.+\n-{4,}\n", rest.partition("\n")[2])[0]
    entries = re.findall(r"^([A-Z]+-\d\d)$\n((?:^   .*\n?)*)", section, re.MULTILINE)
    return {name: " ".join(reason.split()) for name, reason in entries}


def claims(source: str) -> Iterator[tuple[str, list[str]]]:
    """Each marked test or class of a module, with the ids that it claims."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            marks = [
                mark
                for mark in node.decorator_list
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.statement"
            ]
            if marks:
                yield node.name, [ast.literal_eval(name) for mark in marks for name in mark.args]


def faults(contract: str, manual: str, modules: dict[str, str]) -> list[str]:
    """What is wrong with the map from statements to tests; empty if nothing is.

    :param contract: lines as :func:`statements` reads them.
    :param manual: the page on compatibility.
    :param modules: the source of each test module, by its name.
    """
    wanted, excepted = statements(contract), exceptions(manual)
    held, found = set(), []
    for module, source in modules.items():
        for test, names in claims(source):
            held |= set(names)
            where = f"{module}::{test}"
            if len(names) > MOST_CLAIMS:
                found.append(f"{where} claims {len(names)} statements")
            found += [f"{where} claims {name}, which there is not" for name in {*names} - wanted]
    found += [f"{name} is excepted, which there is not" for name in excepted.keys() - wanted]
    found += [f"{name} is excepted without a reason" for name in excepted if not excepted[name]]
    found += [f"{name} is excepted, yet a test claims it" for name in excepted.keys() & held]
    found += [f"{name} has no test" for name in wanted - held - excepted.keys()]
    return sorted(found)


def test_every_statement_has_a_test_or_a_reason() -> None:
    modules = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for tests in TESTS
        for path in tests.rglob("test_*.py")
    }
    contract = (ROOT / "tests" / "statements.txt").read_text(encoding="utf-8")
    manual = (ROOT / "docs" / "compatibility.rst").read_text(encoding="utf-8")
    assert faults(contract, manual, modules) == []


# The check itself ---------------------------------------------------------------------------

CONTRACT = "# a comment\n\nA 01-03 05\nB  01  # another\n"

MANUAL = f"""
Elsewhere
---------

A-01
   This is no exception.

{EXCEPTIONS_TITLE}
{"-" * len(EXCEPTIONS_TITLE)}

A-05
   There is
   a reason.

Afterwards
----------

A-02
   Nor is this.
"""

MODULE = """
@pytest.mark.statement("A-01", "A-02")
def test_one(): ...

class TestMore:
    @pytest.mark.heavy
    @pytest.mark.statement("A-03")
    @pytest.mark.statement("B-01")
    async def test_other(self): ...
"""


def test_ids_are_read_from_ranges() -> None:
    assert statements(CONTRACT) == {"A-01", "A-02", "A-03", "A-05", "B-01"}


def test_exceptions_are_read_from_their_section_only() -> None:
    assert exceptions(MANUAL) == {"A-05": "There is a reason."}


def test_claims_are_read_from_functions_and_methods() -> None:
    assert dict(claims(MODULE)) == {"test_one": ["A-01", "A-02"], "test_other": ["A-03", "B-01"]}


def test_a_map_that_is_right_has_no_faults() -> None:
    assert faults(CONTRACT, MANUAL, {"m": MODULE}) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"A-02")', ")", "A-02 has no test"),
        ('"A-02")', '"A-2")', "m::test_one claims A-2, which there is not"),
        ('"A-02")', '"A-02", "A-05")', "A-05 is excepted, yet a test claims it"),
        ('"A-02")', '"A-02", "A-03", "B-01")', "m::test_one claims 4 statements"),
        ("01-03 05", "01-05", "A-04 has no test"),
        ("A 01-03 05", "A 01-03", "A-05 is excepted, which there is not"),
        ("   There is\n   a reason.\n", "", "A-05 is excepted without a reason"),
        ("A-05\n   There", "   There", "A-05 has no test"),
    ],
)
def test_each_fault_is_found(old: str, new: str, fault: str) -> None:
    parts = [part.replace(old, new) for part in (CONTRACT, MANUAL, MODULE)]
    assert parts != [CONTRACT, MANUAL, MODULE]
    contract, manual, module = parts
    assert fault in faults(contract, manual, {"m": module})
