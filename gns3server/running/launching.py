"""Start one process: all of it blocks and runs in the spawner's thread."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gns3server.errors import advice
from gns3server.running.identity import Handle, open_handle
from gns3server.running.logs import open_log
from gns3server.running.procfs import RUN_ID_VARIABLE
from gns3server.running.runner import LaunchFailed
from gns3server.running.spec import LaunchSpec, Port

PR_SET_TIMERSLACK = 29  # linux/prctl.h


class Launched(NamedTuple):
    """A process that was just started: reap it by `popen`, close the pidfd in `main`."""

    popen: subprocess.Popen[bytes]
    main: Handle


def launch(
    spec: LaunchSpec, run_id: str, base_env: Mapping[str, str], slack: TimerSlack
) -> Launched:
    """Start the program of a spec in a session of its own; raise LaunchFailed."""
    _write_files(spec)
    for port in spec.ports:
        check_free(port)
    environment = {**base_env, **spec.env, RUN_ID_VARIABLE: run_id}
    log = _open_log(spec)
    try:
        with slack.of(spec.timer_slack_ns):
            popen = _popen(spec, environment, log)
    finally:
        os.close(log)
    return Launched(popen, _identify(spec, popen))


class TimerSlack:
    """The timer slack of the calling thread, which its forks inherit (prctl(2))."""

    def __init__(self) -> None:
        self._prctl: Callable[..., int] | None = None

    @contextmanager
    def of(self, nanoseconds: int | None) -> Iterator[None]:
        """Let the block's forks have this timer slack; None changes nothing."""
        if nanoseconds is None:
            yield
            return
        self._set(nanoseconds)
        try:
            yield
        finally:
            # The next program that this thread starts did not ask for it: 0 is the usual value.
            self._set(0)

    def _set(self, nanoseconds: int) -> None:
        # Late: not every lab needs it, and it would slow each start of the server down.
        import ctypes

        if self._prctl is None:
            self._prctl = ctypes.CDLL(None).prctl
        self._prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds), 0, 0, 0)


def check_free(port: Port) -> None:
    """Raise LaunchFailed when a port cannot be bound on all addresses right now."""
    kind = socket.SOCK_STREAM if port.kind == "tcp" else socket.SOCK_DGRAM
    try:
        with socket.socket(socket.AF_INET, kind) as probe:
            if port.kind == "tcp":
                # As servers do it: connections that are fading out do not count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port.number))  # noqa: S104 (as emulators do)
    except OSError as error:
        raise LaunchFailed(_why_not_bound(port, error)) from error


def in_use(place: Port | str) -> str:
    """Say that a port, or the path of a socket, is taken."""
    kind = "port" if isinstance(place, Port) else "path"
    return (
        f"{place} is in use by another process of this machine: stop that or choose another {kind}"
    )


def _why_not_bound(port: Port, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return in_use(port)
    if error.errno == errno.EACCES:
        return f"{port} is reserved for privileged programs: choose one above 1023"
    return f"{port} cannot be used: {_advice(error)}"


def _write_files(spec: LaunchSpec) -> None:
    directory = Path(spec.cwd)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in spec.files.items():
            # Beside, then renamed: a crash must not leave half a script to be run.
            beside = directory / f".{name}.new"
            beside.write_bytes(content)
            beside.replace(directory / name)
    except OSError as error:
        raise LaunchFailed(f"cannot write to the directory {spec.cwd}: {_advice(error)}") from error


def _open_log(spec: LaunchSpec) -> int:
    try:
        return open_log(Path(spec.cwd, spec.log_name))
    except OSError as error:
        raise LaunchFailed(f"cannot open the log {spec.log_name}: {_advice(error)}") from error


def _popen(spec: LaunchSpec, environment: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            spec.argv,
            cwd=spec.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchFailed(_why_not_started(spec, error, environment.get("PATH"))) from error


def _why_not_started(spec: LaunchSpec, error: OSError, path: str | None) -> str:
    program = spec.argv[0]
    if error.errno == errno.ENOENT:
        if shutil.which(program, os.F_OK, path) is None:
            return f"{program} does not exist: install it or correct the configured path"
        return f"{program} needs an interpreter or loader that does not exist: install it again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{program} may not be executed: check that it is a program and its permissions"
    return f"cannot start {program}: {_advice(error)}"


def _identify(spec: LaunchSpec, popen: subprocess.Popen[bytes]) -> Handle:
    try:
        handle = open_handle(popen.pid)
    except OSError as error:
        _end(popen)
        raise LaunchFailed(f"cannot watch {spec.argv[0]}: {_advice(error)}") from error
    except BaseException:
        _end(popen)
        raise
    if handle is None:
        _end(popen)
        raise LaunchFailed(f"{spec.argv[0]} was reaped by something else than this server")
    return handle


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.kill()
    popen.wait()


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "it is not a program of this machine: check the configured path"
    return advice(error) or error.strerror or str(error)
