"""The stop ladder: ask, wait, kill, wait until gone, then look for those that hid."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Collection

from gns3server.running.identity import Handle
from gns3server.running.reader import KernelReader
from gns3server.running.watched import WatchedProcesses

log = logging.getLogger(__name__)

STOP_SIGNAL = signal.SIGTERM
STOP_LIMIT = 3.0
_POLITE_PASSES = 2


async def take_down(
    record: WatchedProcesses,
    reader: KernelReader,
    run_ids: Collection[str],
    hurry: asyncio.Event,
    *,
    stop_signal: int = STOP_SIGNAL,
    stop_limit: float = STOP_LIMIT,
) -> None:
    """Stop the recorded processes, their descendants and all that carry one of the run ids.

    Returns when they are gone; `stop_limit` is in seconds, and no longer waited for once `hurry`
    is set. What is found on the way is added to the record. Nothing else is ever signalled.
    """
    passes = 0
    while True:
        await _find(record, "descendants", lambda: reader.family(record.identities))
        while record.alive:
            # Those that keep forking new ones have been asked often enough.
            if passes < _POLITE_PASSES and not hurry.is_set():
                # A process that was stopped (SIGSTOP) takes its signal once it is continued.
                record.signal(stop_signal, signal.SIGCONT)
                if await _gone(record, stop_limit, hurry):
                    continue
            record.signal(signal.SIGKILL)
            await record.gone()
        await _find(record, "stragglers", lambda: reader.carriers(run_ids, record.identities))
        if not record.alive:
            return
        passes += 1


async def _gone(record: WatchedProcesses, limit: float, hurry: asyncio.Event) -> bool:
    """Wait until those that live have ended; False after `limit` seconds, or at `hurry`."""
    gone = asyncio.ensure_future(record.gone(limit))
    hurried = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait({gone, hurried}, return_when=asyncio.FIRST_COMPLETED)
        return gone.done() and gone.result()
    finally:
        gone.cancel()
        hurried.cancel()


async def _find(
    record: WatchedProcesses, what: str, search: Callable[[], Awaitable[list[Handle]]]
) -> None:
    try:
        record.add_all(await search())
    except OSError as error:
        # No file descriptor left, most likely: what is recorded must be stopped all the same.
        log.warning("cannot look for %s: %s", what, error)
