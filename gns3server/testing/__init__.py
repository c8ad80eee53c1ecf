"""For plugin authors: a real server, a client and a conformance suite, as pytest fixtures.

Installed with the server's extra ``testing``, the fixtures are available without an
import::

    async def test_my_emulator_starts(gns3_client, gns3_project):
        vm = await gns3_client.post(f"{gns3_project}/myemulator/vms", {"name": "one"})
        assert vm.status == 201

Each test gets its own server, with its own directories and port ranges. If
a process is left when the test is over, the test fails and the process is killed. The
client checks every answer against the server's OpenAPI document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

# Before they are imported, so that their assertions show what they compared.
pytest.register_assert_rewrite(
    *(
        f"gns3server.testing.{name}"
        for name in (
            "api_checks",
            "console_conformance",
            "life_conformance",
            "node_steps",
            "plugin_conformance",
            "program_conformance",
            "record_conformance",
            "wire_conformance",
        )
    )
)

from gns3server.consoles.client import ConsoleClient  # noqa: E402
from gns3server.testing.api_checks import ResponseCheck, part_of  # noqa: E402
from gns3server.testing.conformance import NodeTypeConformance  # noqa: E402
from gns3server.testing.fixtures import (  # noqa: E402
    SnapshotCheck,
    gns3_client,
    gns3_process,
    gns3_project,
    gns3_server,
    gns3_serving,
    gns3_settings,
    gns3_snapshot,
    pytest_addoption,
)
from gns3server.testing.lab_server import LabServer, ServerFactory  # noqa: E402
from gns3server.testing.leftovers import TEST_VARIABLE, marks, processes_of  # noqa: E402
from gns3server.testing.node_steps import free_udp_port  # noqa: E402
from gns3server.testing.plugin_conformance import PluginConformance  # noqa: E402
from gns3server.testing.port_blocks import PortBlock, claimed_ports  # noqa: E402
from gns3server.testing.requirements import (  # noqa: E402
    pytest_itemcollected,
    pytest_terminal_summary,
)
from gns3server.testing.server_process import ServerProcess  # noqa: E402

if TYPE_CHECKING:
    from gns3server.http.client import Answer, Client

__all__ = [
    "TEST_VARIABLE",
    "Answer",
    "Client",
    "ConsoleClient",
    "LabServer",
    "NodeTypeConformance",
    "PluginConformance",
    "PortBlock",
    "ResponseCheck",
    "ServerFactory",
    "ServerProcess",
    "SnapshotCheck",
    "claimed_ports",
    "free_udp_port",
    "gns3_client",
    "gns3_process",
    "gns3_project",
    "gns3_server",
    "gns3_serving",
    "gns3_settings",
    "gns3_snapshot",
    "marks",
    "part_of",
    "processes_of",
    "pytest_addoption",
    "pytest_itemcollected",
    "pytest_terminal_summary",
]


def __getattr__(name: str) -> Any:
    # Late, because every run of pytest on this machine loads this module.
    if name in ("Answer", "Client"):
        from gns3server.http import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
