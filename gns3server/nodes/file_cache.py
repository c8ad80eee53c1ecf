"""Small files of nodes, kept in memory for exactly as long as they are unchanged.

The kernel puts an event into the queue of our inotify instance before a call
that changes a file returns. So whoever looks into the queue first, and finds
nothing about a file, may answer with what was read before: nobody can have
finished changing it meanwhile. Looking takes half a microsecond and never
waits; reading a file takes a thread.

Two kinds of change have no such event before the file is closed: stores into
a shared memory mapping and writes of Linux's native asynchronous I/O.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gns3server.files import durable as files
from gns3server.nodes.file_watch import Place, read_watched
from gns3server.running.inotify import IN_IGNORED, FileEvent, Inotify

log = logging.getLogger(__name__)

MOST_FILES = 10_000
MOST_WATCHES = 3 * MOST_FILES
"""A file has two of its own as a rule: on itself and on its directory."""

Reader = Callable[[Inotify, str, list[Place]], bytes | None]


@dataclass(frozen=True, slots=True)
class Kept:
    """What was read (``None``: no such file), and the places whose events make it outdated."""

    content: bytes | None
    places: frozenset[Place]


@dataclass(eq=False, slots=True)
class Reading:
    """A file being read in a thread.

    :param since: the number of the last batch of events before it was asked for.
    :param begun: set by the thread. Until then those who ask later may wait for it too.
    :param watched: whether the places would have told of every change.
    """

    path: str
    since: int
    begun: bool = False
    watched: bool = False
    places: list[Place] = field(default_factory=list)
    content: asyncio.Future[bytes | None] = field(init=False)


class FileCache:
    """Reads files; keeps the small ones while the kernel vouches for them.

    All but :meth:`_read` belongs to the event loop. Where something cannot be
    watched, it is read anew each time.

    :param most_files: how many are kept; those not asked for the longest go first,
        also when there are more than ``most_watches`` watches.
    :param open_inotify: called once, when first needed, in a thread.
    :param read: reads a file and sets the watches.
    """

    def __init__(
        self,
        most_files: int = MOST_FILES,
        most_watches: int = MOST_WATCHES,
        open_inotify: Callable[[], Inotify] = Inotify,
        read: Reader = read_watched,
    ) -> None:
        self._most_files = most_files
        self._most_watches = most_watches
        self._open_inotify = open_inotify
        self._reader = read
        self._opening = threading.Lock()
        self._inotify: Inotify | None = None
        self._out_of_use = False
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._watches: dict[int, dict[bytes, set[str]]] = {}
        """By watch and name: the kept paths whose places they are."""
        self._idle: dict[int, None] = {}
        """The watches that nothing kept needs any more, the oldest first."""
        self._readings: set[Reading] = set()
        self._newest: dict[str, Reading] = {}
        self._batch = 0
        self._touched: dict[Place, int] = {}
        """While something is being read: the last batch that had an event at a place."""
        self._all_touched = 0

    async def read(self, path: str) -> bytes | None:
        """The content of the file at an absolute path, ``None`` when there is none.

        Never older than the call.

        :raises OSError: it is there and cannot be read.
        """
        self._catch_up()
        kept = self._kept.get(path)
        if kept is not None:
            self._kept.move_to_end(path)
            return kept.content
        reading = self._newest.get(path)
        if reading is None or reading.begun:
            reading = self._start_reading(path)
        return await asyncio.shield(reading.content)

    async def close(self) -> None:
        """Give the inotify instance back; files can still be read."""
        self._out_of_use = True
        while self._readings:
            await asyncio.wait([reading.content for reading in self._readings])
        self._forget_all()
        inotify, self._inotify = self._inotify, None
        if inotify is not None:
            await asyncio.to_thread(inotify.close)

    # Reading -----------------------------------------------------------------

    def _start_reading(self, path: str) -> Reading:
        reading = Reading(path, self._batch)
        self._readings.add(reading)
        self._newest[path] = reading
        loop = asyncio.get_running_loop()
        reading.content = loop.run_in_executor(None, self._read, reading)
        # The first callback: what was read is kept before those who wait for it go on.
        reading.content.add_done_callback(lambda content: self._finish(reading, content))
        return reading

    def _read(self, reading: Reading) -> bytes | None:
        """Runs in a thread."""
        reading.begun = True
        inotify = self._get_inotify()
        if inotify is not None:
            try:
                content = self._reader(inotify, reading.path, reading.places)
            except OSError as error:
                log.debug("%s is read without being watched: %s", reading.path, error)
            else:
                reading.watched = True
                return content
        return files.read(Path(reading.path))

    def _get_inotify(self) -> Inotify | None:
        with self._opening:
            if self._inotify is None and not self._out_of_use:
                try:
                    self._inotify = self._open_inotify()
                except OSError as error:
                    self._out_of_use = True
                    log.warning(
                        "files cannot be watched and are read for every answer, which is slower: "
                        "%s. Raising fs.inotify.max_user_instances may help.",
                        error,
                    )
            return self._inotify

    def _finish(self, reading: Reading, content: asyncio.Future[bytes | None]) -> None:
        if self._newest.get(reading.path) is reading:
            del self._newest[reading.path]
        try:
            self._take_in(reading, content)
        finally:
            # Not before: while something is being read, events are remembered for it.
            self._readings.discard(reading)
            if not self._readings:
                self._touched.clear()

    def _take_in(self, reading: Reading, content: asyncio.Future[bytes | None]) -> None:
        for watch, _ in reading.places:
            if watch not in self._watches:
                self._watches[watch] = {}
                self._idle[watch] = None
        self._catch_up()
        failed = content.cancelled() or content.exception() is not None
        if reading.watched and not failed and not self._is_outdated(reading):
            self._keep(reading.path, Kept(content.result(), frozenset(reading.places)))
        self._trim(spare_idle=reading.watched)

    def _is_outdated(self, reading: Reading) -> bool:
        """Whether an event has come at one of its places since it was asked for."""
        if self._all_touched > reading.since:
            return True
        return any(
            self._touched.get(place, 0) > reading.since
            for watch, name in reading.places
            for place in ((watch, name), (watch, b""))
        )

    # Keeping -----------------------------------------------------------------

    def _keep(self, path: str, kept: Kept) -> None:
        self._drop(path)
        self._kept[path] = kept
        for watch, name in kept.places:
            self._watches[watch].setdefault(name, set()).add(path)
            self._idle.pop(watch, None)

    def _drop(self, path: str) -> None:
        kept = self._kept.pop(path, None)
        for watch, name in kept.places if kept is not None else ():
            by_name = self._watches[watch]
            by_name[name].discard(path)
            if not by_name[name]:
                del by_name[name]
            if not by_name:
                self._idle[watch] = None

    def _forget_all(self) -> None:
        self._all_touched = self._batch
        self._kept.clear()
        self._touched.clear()
        self._watches = {watch: {} for watch in self._watches}
        self._idle = dict.fromkeys(self._watches)

    def _trim(self, *, spare_idle: bool) -> None:
        """Keep the bounds. Idle watches may be the ones that another file had no room for."""
        while len(self._kept) > self._most_files:
            self._drop(next(iter(self._kept)))
        while self._idle and not spare_idle:
            self._unwatch(next(iter(self._idle)))
        while len(self._watches) > self._most_watches:
            if self._idle:
                self._unwatch(next(iter(self._idle)))
            else:
                self._drop(next(iter(self._kept)))

    def _unwatch(self, watch: int) -> None:
        self._forget_watch(watch)
        if self._inotify is not None:
            self._inotify.unwatch(watch)

    def _forget_watch(self, watch: int) -> None:
        self._watches.pop(watch, None)
        self._idle.pop(watch, None)

    # Changes -----------------------------------------------------------------

    def _catch_up(self) -> None:
        """Drop what is outdated."""
        if self._inotify is None:
            return
        events = self._inotify.changes()
        if events is None:
            self._batch += 1
            self._forget_all()
        elif events:
            self._batch += 1
            for event in events:
                self._take_note(event)

    def _take_note(self, event: FileEvent) -> None:
        if self._readings:
            self._touched[event.watch, event.name] = self._batch
            if len(self._touched) > self._most_watches:
                self._forget_all()
        by_name = self._watches.get(event.watch, {})
        for name in [event.name] if event.name else list(by_name):
            for path in list(by_name.get(name, ())):
                self._drop(path)
        if event.mask & IN_IGNORED:
            self._forget_watch(event.watch)
