"""QEMU's control socket, by QMP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from ssl import SSLContext
from typing import Any

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError, Runstate

from gns3server.plugin import Conflict, Machine, Unavailable

SECONDS = 5.0
"""How long QEMU has to answer. While it writes to a slow disk it may answer nothing for a while."""

QUIET = logging.getLogger(f"{__name__}.library")
"""The library logs each connection that ends as an error; whoever uses it here is told anyway."""

QUIET.disabled = True

JOB_CHANGED, CONCLUDED = "JOB_STATUS_CHANGE", "concluded"

GONE = "DeviceNotFound"
"""QMP's class of errors for something that is not there."""


class MonitorFailed(Exception):
    """QEMU does not answer."""


class _Client(QMPClient):
    """The library's client, on a connection that the machine has made.

    It can connect by itself only on the host that it runs on, which need not be the guest's.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.logger = QUIET
        self._machine = machine

    async def _do_connect(self, address: Any, ssl: SSLContext | None = None) -> None:
        del ssl
        self._set_state(Runstate.CONNECTING)
        self._reader, self._writer = await self._machine.connect(str(address))


class Monitor:
    """A connection to one QEMU.

    :param title: the guest, for messages.
    """

    def __init__(self, client: QMPClient, title: str, told: Callable[[str], None]) -> None:
        self._client = client
        self._title = title
        self._job_changed = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(told))

    @classmethod
    async def connect(
        cls, machine: Machine, path: str, title: str, told: Callable[[str], None]
    ) -> Monitor:
        """Connect to the socket at ``path`` of a machine.

        :param told: called with the name of each event that QEMU tells.
        :raises Unavailable: nobody answers there as QEMU would.
        """
        client = _Client(machine)
        try:
            async with asyncio.timeout(SECONDS):
                await client.connect(path)
        except (OSError, TimeoutError, EOFError, QMPError) as error:
            raise Unavailable(f"The QEMU of {title} does not answer at its control socket.") from (
                error
            )
        return cls(client, title, told)

    @property
    def connected(self) -> bool:
        """Whether the connection is of use."""
        return self._client.runstate is Runstate.RUNNING

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        seconds: float = SECONDS,
    ) -> Any:
        """Have QEMU carry out a command, and return what it answers (QEMU-21).

        :param seconds: how long it has.
        :raises Conflict: it refuses.
        :raises Unavailable: it does not answer.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._client.execute(command, arguments)
        except ExecuteError as error:
            raise Refused(self._title, command, error) from error
        except (OSError, TimeoutError, EOFError, QMPError) as error:
            # What was asked may still be answered: the next one begins anew.
            await self.close()
            raise Unavailable(
                f"The QEMU of {self._title} did not answer to {command}: stop the node if it does "
                "not recover."
            ) from error

    async def run_job(self, command: str, arguments: Mapping[str, object], seconds: float) -> None:
        """Have QEMU carry out a command that is a job, and wait for its end.

        :param seconds: how long it has: meanwhile QEMU may answer nothing.
        :raises Conflict: it refuses, or has failed.
        :raises Unavailable: it does not end in time.
        """
        end = asyncio.get_running_loop().time() + seconds
        await self.execute(command, {"job-id": command, **arguments}, seconds)
        while True:
            self._job_changed.clear()
            left = end - asyncio.get_running_loop().time()
            jobs = await self.execute("query-jobs", None, left)
            job = next(job for job in jobs if job["id"] == command)
            if job["status"] == CONCLUDED:
                break
            try:
                async with asyncio.timeout_at(end):
                    await self._job_changed.wait()
            except TimeoutError as error:
                raise Unavailable(
                    f"The QEMU of {self._title} has not ended {command} within {seconds:g} seconds."
                ) from error
        await self.execute("job-dismiss", {"id": command})
        if "error" in job:
            raise Conflict(f"The QEMU of {self._title} failed at {command}: {job['error']}.")

    async def close(self) -> None:
        """Hang up."""
        self._listening.cancel()
        try:
            await self._client.disconnect()
        except (OSError, EOFError, QMPError):
            # It has hung up first.
            return

    async def _listen(self, told: Callable[[str], None]) -> None:
        # Also so that they do not pile up: the library keeps all that nobody takes.
        async for message in self._client.events:
            if name_of(message) == JOB_CHANGED:
                self._job_changed.set()
            told(name_of(message))


class Refused(Conflict):
    """QEMU refuses a command.

    :param title: the guest, for the message.
    """

    def __init__(self, title: str, command: str, error: ExecuteError) -> None:
        super().__init__(f"The QEMU of {title} refuses {command}: {str(error).rstrip('.')}.")
        self.gone = error.error_class == GONE


def name_of(message: Message) -> str:
    """The name of an event."""
    return str(message["event"])
