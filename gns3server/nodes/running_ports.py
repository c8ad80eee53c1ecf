"""The ports of a running process, reserved until it is gone."""

from __future__ import annotations

from gns3server.ports import Holder, Ports
from gns3server.running.spec import LaunchSpec


class RunningPorts:
    """What one run has bound, or may bind, whatever its node's console and NIOs say meanwhile."""

    def __init__(self, ports: Ports, spec: LaunchSpec, holder: Holder) -> None:
        self._ports = ports
        self._spec = spec
        self._holder = holder

    def reserve(self) -> None:
        """Reserve them for a run that is about to start.

        :raises gns3server.errors.Conflict: one is taken; :meth:`release` the others.
        """
        for port in self._spec.ports:
            self._ports.pool(port.kind).hold(port.number, self._holder)
        self._note_companions()

    def keep(self) -> None:
        """Reserve them for a run that has them already."""
        for port in self._spec.ports:
            self._ports.pool(port.kind).hold_bound(port.number, self._holder)
        self._note_companions()

    def release(self) -> None:
        """Give them back; harmless when none is held."""
        for port in (*self._spec.ports, *self._spec.may_bind):
            self._ports.pool(port.kind).release(port.number, self._holder)

    def _note_companions(self) -> None:
        for port in self._spec.may_bind:
            self._ports.pool(port.kind).hold_companion(port.number, self._holder)
