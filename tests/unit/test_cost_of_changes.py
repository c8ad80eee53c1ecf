"""A change writes as much in a lab of 300 nodes as in one of 3."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from gns3server.events import Event, EventBus
from gns3server.files.durable import make_directory
from gns3server.http.notifications import V1Translator
from gns3server.nodes.registry import Registry
from gns3server.running.spec import LaunchSpec
from gns3server.storage.change import ProjectChange
from gns3server.storage.database import DatabaseThread
from gns3server.storage.rows import NioRow, NodeRow, Owner, RunRow
from gns3server.storage.stores import ProjectStore

DEEPER = 4
"""Pages that a change may write more when the trees of tables and indexes are deeper."""

SPEC = LaunchSpec(argv=("/usr/bin/toy", "2000"), cwd="/srv/labs/lab/project-files/toy/x")
NEWS = Event("toy", "started", "p", {"text": "x" * 400})


def node_id(number: int) -> str:
    """Spread as random ids are."""
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-8000-000000000000"


async def add_node(records: ProjectStore, number: int) -> None:
    """A node as clients leave it: wired and running."""
    row = NodeRow(
        id=node_id(number),
        type="toy",
        name=f"PC{number}",
        console=2000 + number,
        number=number,
        properties={"note": "a note"},
    )
    nio = NioRow("nio_udp", {"lport": number, "rhost": "127.0.0.1", "rport": number})
    run = RunRow(id=f"run {number}", owner=Owner("node", row.id), spec=SPEC)
    for step in (
        lambda change: (change.save_node(row), change.tell(NEWS)),
        lambda change: change.save_nio(row.id, (0, 0), nio),
        lambda change: (change.save_run(run), change.tell(NEWS)),
    ):
        await make(records, step)


async def make(records: ProjectStore, *steps: Callable[[ProjectChange], object]) -> None:
    """Make one change."""
    async with records.change() as change:
        for step in steps:
            step(change)


CHANGES: dict[str, Callable[[ProjectStore], Awaitable[None]]] = {
    "create, wire and start": lambda records: add_node(records, 1000),
    "unwire": lambda records: make(
        records,
        lambda change: change.save_nio(node_id(1000), (0, 0), None),
        lambda change: change.free_port(1000),
    ),
    "keep a value": lambda records: make(
        records, lambda change: change.save_value(Owner("node", node_id(1000)), "toy", "key", 1)
    ),
    "suspend": lambda records: make(
        records, lambda change: change.save_node_state(node_id(1000), "suspended")
    ),
    "stop": lambda records: make(
        records, lambda change: change.end_run("run 1000"), lambda change: change.tell(NEWS)
    ),
    "delete": lambda records: make(
        records,
        lambda change: change.remove_node(node_id(1000), "toy"),
        lambda change: change.free_port(1000),
    ),
    "rename the project": lambda records: make(
        records, lambda change: change.save_project("p", "new", temporary=False)
    ),
    "allocate a port": lambda records: make(records, lambda change: change.allocate_port(1001)),
}


async def pages_of_changes(thread: DatabaseThread, directory: Path, nodes: int) -> dict[str, int]:
    """How many pages each change writes to the log of a lab of so many nodes."""
    make_directory(directory)
    records = await ProjectStore.load(thread, directory)
    await make(records, lambda change: change.save_project("p", "lab", temporary=False))
    await records.events.open(V1Translator(Registry()), EventBus().publish, 1000)
    for number in range(nodes):
        await add_node(records, number)
        owner = Owner("node", node_id(number))
        await make(
            records, partial(ProjectChange.save_value, owner=owner, plugin="a", key="k", value=1)
        )
    (database,) = (db for db in thread.opened if db.path.parent == directory)
    pages = {}
    for name, change in CHANGES.items():
        await thread.read(database, "PRAGMA wal_checkpoint(TRUNCATE)")
        await change(records)
        pages[name] = (directory / "project.db-wal").stat().st_size // 4096
    return pages


async def test_a_change_costs_the_same_in_a_large_lab(thread, tmp_path):
    small = await pages_of_changes(thread, tmp_path / "small", 3)
    large = await pages_of_changes(thread, tmp_path / "large", 300)
    assert min(small.values()) > 0
    assert {name for name in CHANGES if large[name] > small[name] + DEEPER} == set(), (small, large)
