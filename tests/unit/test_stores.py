"""Values of plugins' own: durable, bounded, each plugin's apart, gone with their owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gns3server.calls import on_behalf_of
from gns3server.errors import Conflict
from gns3server.events import EventBus
from gns3server.nodes.store import KEY_LENGTH, VALUE_BYTES, Store
from gns3server.storage.row_changes import MOST_KEYS
from gns3server.storage.rows import NodeRow, Owner
from gns3server.storage.stores import ProjectStore, ServerStore

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
NODE = "b481a455-5e82-4f46-92ba-b0c1d4f9ae01"
ROW = NodeRow(id=NODE, type="toy", name="PC", console=None, number=None, properties={})
PROJECT = Owner("project", ID)


@pytest.fixture
async def records(thread, tmp_path) -> ProjectStore:
    """The records of a project with a node."""
    records = await ProjectStore.load(thread, tmp_path)
    await records.events.open(lambda _: None, EventBus().publish, 100)
    async with records.change() as change:
        change.save_project(ID, "lab", temporary=False)
        change.save_node(ROW)
    return records


def store(records: Any, owner: Owner = PROJECT, plugin: str = "toy") -> Store:
    with on_behalf_of(plugin):
        return Store(records, owner)


@pytest.mark.parametrize("value", [None, False, 0, 1.5, "", "\u2192\0\ud800", [], {"a": [1, None]}])
async def test_what_json_can_hold_comes_back(records, value):
    values = store(records)
    await values.set("key", value)
    assert await values.get("key", "nothing") == value


async def test_values_are_set_replaced_listed_and_deleted(records):
    values = store(records)
    assert await values.get("a") is None
    await values.set("b", 1)
    await values.set("a", 2)
    await values.set("b", 3)
    assert [*(await values.items()).items()] == [("a", 2), ("b", 3)]
    await values.delete("b")
    await values.delete("b")
    assert await values.items() == {"a": 2}


async def test_each_plugin_and_each_owner_has_its_own(records):
    stores = [
        store(records, owner, plugin)
        for owner in (PROJECT, Owner("node", NODE))
        for plugin in ("toy", "other")
    ]
    for number, values in enumerate(stores):
        await values.set("key", number)
    assert [await values.items() for values in stores] == [{"key": n} for n in range(4)]
    await stores[0].delete("key")
    assert [await values.get("key") for values in stores] == [None, 1, 2, 3]


async def test_only_the_code_of_a_plugin_gets_a_store(records):
    with pytest.raises(RuntimeError, match="only the code of a plugin may do this"):
        Store(records, PROJECT)


async def test_a_task_of_a_plugin_is_its_code_too(records):
    async def work() -> None:
        await Store(records, PROJECT).set("key", 1)

    with on_behalf_of("toy"):
        task = asyncio.create_task(work())
    await task
    assert await store(records).get("key") == 1


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), b"x"])
async def test_what_json_cannot_hold_is_refused(records, value):
    with pytest.raises(ValueError, match="'key' cannot be kept as JSON"):
        await store(records).set("key", value)
    assert await store(records).items() == {}


async def test_what_is_nested_too_deep_is_refused(records):
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="'key' cannot be kept as JSON"):
        await store(records).set("key", value)


@pytest.mark.parametrize("key", ["", "x" * (KEY_LENGTH + 1), "a\0", "\ud800", "a\nb", 7])
async def test_an_unfit_key_is_refused(records, key):
    with pytest.raises(ValueError, match="is not a key"):
        await store(records).set(key, 1)


async def test_a_value_that_is_too_long_is_refused(records):
    values = store(records)
    await values.set("key", "x" * (VALUE_BYTES - 2))
    with pytest.raises(Conflict, match="'key' of the plugin 'toy' has 1048577 bytes as JSON"):
        await values.set("key", "x" * (VALUE_BYTES - 1))
    assert len(await values.get("key")) == VALUE_BYTES - 2


async def test_too_many_values_are_refused_however_they_come(records):
    values = store(records)
    async with records.change() as change:
        for number in range(MOST_KEYS - 1):
            values.save(change, f"{number}", number)
    several = [values.set(f"new {number}", 1) for number in range(3)]
    done = await asyncio.gather(*several, return_exceptions=True)
    # They share a commit: the first had room, and the others have not harmed it.
    assert done[0] is None
    assert [type(error) for error in done[1:]] == [Conflict, Conflict]
    assert "a plugin may keep 1000 values with one owner" in str(done[1])
    await values.set("0", "another value")
    await store(records, plugin="other").set("x", 1)
    await store(records, Owner("node", NODE)).set("x", 1)
    await values.delete("1")
    await values.set("new", 1)
    assert len(await values.items()) == MOST_KEYS


async def test_a_value_is_part_of_a_change(records):
    values = store(records)

    async def fail() -> None:
        async with records.change() as change:
            values.save(change, "key", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await values.items() == {}
    async with records.change() as change:
        values.save(change, "key", 1)
        values.save(change, "other", 2)
        values.remove(change, "key")
        assert await values.items() == {}
    assert await values.items() == {"other": 2}


async def test_a_change_of_another_project_is_refused(thread, records, tmp_path):
    (tmp_path / "other").mkdir()
    other = await ProjectStore.load(thread, tmp_path / "other")
    async with other.change() as change:
        with pytest.raises(ValueError, match="not of the project"):
            store(records).save(change, "key", 1)
        with pytest.raises(ValueError, match="not of the project"):
            store(records).remove(change, "key")


async def test_nothing_is_kept_for_a_node_that_is_gone(records):
    values = store(records, Owner("node", NODE))
    await values.set("key", 1)
    async with records.change() as change:
        change.remove_node(NODE, "toy")
    assert await values.items() == {}
    await values.set("key", 1)
    assert (await records.stored()).values == {}


async def test_values_of_the_server_are_there_again(thread, tmp_path):
    records = await ServerStore.load(thread, tmp_path)
    await store(records, Owner("server", "")).set("key", {"a": 1})
    await thread.close_database(next(iter(thread.opened)))
    again = await ServerStore.load(thread, tmp_path)
    assert await store(again, Owner("server", "")).items() == {"key": {"a": 1}}
    assert again.found.places == []
