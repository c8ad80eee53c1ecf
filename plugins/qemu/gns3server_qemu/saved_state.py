"""What a guest was doing when it was stopped: saved in its disks, restored at its next start."""

from __future__ import annotations

from gns3server_qemu.command_line import DISK_NODE
from gns3server_qemu.monitor import Monitor

TAG = "gns3"
"""What the saved state is called in the disks."""


async def save(monitor: Monitor, seconds: float) -> None:
    """Freeze a guest, and save its memory and its disks as they are.

    :param seconds: how long that may take.
    :raises gns3server.plugin.LabError: it cannot be saved.
    """
    await monitor.execute("stop")
    disks = await _disks(monitor)
    arguments = {"tag": TAG, "vmstate": disks[0], "devices": disks}
    await monitor.run_job("snapshot-save", arguments, seconds)


async def restore(monitor: Monitor, seconds: float) -> None:
    """Have a guest that has not begun yet be as it was saved.

    :raises gns3server.plugin.LabError: it cannot be restored.
    """
    disks = await _disks(monitor)
    arguments = {"tag": TAG, "vmstate": disks[0], "devices": disks}
    await monitor.run_job("snapshot-load", arguments, seconds)


async def forget(monitor: Monitor, seconds: float) -> None:
    """Remove what was saved. It is fine if nothing is there."""
    arguments = {"tag": TAG, "devices": await _disks(monitor)}
    await monitor.run_job("snapshot-delete", arguments, seconds)


async def _disks(monitor: Monitor) -> list[str]:
    """The disks that the guest writes to."""
    blocks = await monitor.execute("query-block")
    names = (block.get("inserted", {}).get("node-name", "") for block in blocks)
    return sorted(name for name in names if name.startswith(DISK_NODE))
