"""Links as they are stored: what no server can have written is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from gns3server.storage.link_rows import read_captures, read_links
from gns3server.storage.stores import PROJECT_MIGRATIONS

NODES = ("b481a455-5e82-4f46-92ba-b0c1d4f9ae01", "7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02")
LINK = "5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21"


@pytest.fixture
def records():
    """Records with two nodes and a link."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(";".join(PROJECT_MIGRATIONS))
        connection.execute(f"INSERT INTO link VALUES ('{LINK}', 'auto', 'direct', 0, '{{}}', 1)")
        for number, node in enumerate(NODES):
            connection.execute(
                "INSERT INTO node VALUES (?, 'toy', 'toy', NULL, NULL, '{}', 'stopped', 0)", (node,)
            )
            connection.execute(
                "INSERT INTO link_end VALUES (?, ?, ?, 0, 0, ?, NULL)",
                (LINK, number, node, 10000 + number),
            )
        connection.execute(f"INSERT INTO capture VALUES ('{LINK}', 'a.pcap', 65535, 1000)")
        yield connection


def test_links_and_captures_are_read(records):
    (link,) = read_links(records)
    assert [end.node_id for end in link.ends] == list(NODES)
    assert [end.local for end in link.ends] == [10000, 10001]
    assert read_captures(records)[LINK].file == "a.pcap"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM link_end WHERE number = 1", "two ends"),
        ("UPDATE link_end SET number = 7 WHERE number = 1", "two ends"),
        ("UPDATE link SET path = 'sideways'", "a path that is never stored"),
        ("UPDATE link SET wanted = 'sideways'", "a path that is never stored"),
        ("UPDATE link SET path = 'relayed'", "no ports"),
        ("UPDATE link SET filters = '[]'", "is not readable"),
        ("UPDATE link SET filters = '{\"delay\": 1}'", "is not readable"),
        ("UPDATE link SET filters = '{'", "is not readable"),
        ("UPDATE link SET seed = -1", "never stored"),
        ("UPDATE link_end SET local = 70000", "never stored"),
        ("UPDATE link_end SET relay = 0", "never stored"),
        ("UPDATE link_end SET adapter = 'x'", "never stored"),
        ("UPDATE link_end SET node_id = '../x' WHERE number = 0", "is no id"),
        ("UPDATE link SET id = '../x'; UPDATE link_end SET link_id = '../x'", "is no id"),
        ("UPDATE capture SET file = '../a.pcap'", "cannot be a name"),
        ("UPDATE capture SET max_bytes = 0", "never stored"),
        ("UPDATE capture SET snapshot_length = 'x'", "never stored"),
    ],
)
def test_what_no_server_has_written_is_refused(records, statement, reason):
    records.executescript(statement)
    with pytest.raises(ValueError, match=reason):
        read_links(records), read_captures(records)
