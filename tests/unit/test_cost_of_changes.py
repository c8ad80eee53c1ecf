"""A change writes as much in a lab of 300 nodes as in one of 3."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from gns3server.events import PendingEvent
from gns3server.files.durable import make_directory
from gns3server.running.spec import LaunchSpec
from gns3server.storage.database import DatabaseThread
from gns3server.storage.rows import NioRow, NodeRow, RunRow
from gns3server.storage.stores import ProjectStore

DEEPER = 4
"""Pages that a change may write more when the trees of tables and indexes are deeper."""

SPEC = LaunchSpec(argv=("/usr/bin/toy", "2000"), cwd="/srv/labs/lab/project-files/toy/x")
NEWS = PendingEvent(action="vm.started", event={"text": "x" * 400})


def node_id(number: int) -> str:
    """Spread as random ids are."""
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-8000-000000000000"


async def add_node(records: ProjectStore, number: int) -> None:
    """A node as clients leave it: wired and running."""
    record = NodeRow(
        id=node_id(number),
        type="toy",
        name=f"PC{number}",
        console=2000 + number,
        number=number,
        properties={"note": "a note"},
    )
    await records.save_node(record, {}, event=NEWS)
    nio = NioRow("nio_udp", {"lport": number, "rhost": "127.0.0.1", "rport": number})
    await records.save_nio(record.id, (0, 0), nio, None)
    await records.save_run(RunRow(id=f"run {number}", node_id=record.id, spec=SPEC), NEWS)


CHANGES: dict[str, Callable[[ProjectStore], Awaitable[None]]] = {
    "create, wire and start": lambda records: add_node(records, 1000),
    "unwire": lambda records: records.save_nio(node_id(1000), (0, 0), None, 1000),
    "stop": lambda records: records.end_run("run 1000", NEWS),
    "delete": lambda records: records.remove_node(node_id(1000), "toy", [1000]),
    "rename the project": lambda records: records.save_project("p", "new", False),
    "allocate a port": lambda records: records.save_allocated_port(1001),
}


async def pages_of_changes(thread: DatabaseThread, directory: Path, nodes: int) -> dict[str, int]:
    """How many pages each change writes to the log of a lab of so many nodes."""
    make_directory(directory)
    records = await ProjectStore.load(thread, directory)
    await records.save_project("p", "lab", False)
    await records.events.open(lambda _line, _number: None, 1000)
    for number in range(nodes):
        await add_node(records, number)
    pages = {}
    for name, change in CHANGES.items():
        await thread.read(records._database, "PRAGMA wal_checkpoint(TRUNCATE)")
        await change(records)
        pages[name] = (directory / "project.db-wal").stat().st_size // 4096
    return pages


async def test_a_change_costs_the_same_in_a_large_lab(thread, tmp_path):
    small = await pages_of_changes(thread, tmp_path / "small", 3)
    large = await pages_of_changes(thread, tmp_path / "large", 300)
    assert min(small.values()) > 0
    assert {name for name in CHANGES if large[name] > small[name] + DEEPER} == set(), (small, large)
