"""Start one process. All of it blocks, and runs in the runner's spawner thread."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from gns3server.errors import advice
from gns3server.files.durable import write_new
from gns3server.files.private import make_directories
from gns3server.ports import try_port
from gns3server.running.identity import Handle, open_child
from gns3server.running.logs import open_log
from gns3server.running.procfs import RUN_ID_VARIABLE
from gns3server.running.runs import LaunchFailed
from gns3server.running.sockets import bound_sockets
from gns3server.running.spec import LaunchSpec, Port
from gns3server.running.terminals import leading_a_session

PR_SET_TIMERSLACK = 29  # linux/prctl.h

_RESTORED = (signal.SIGPIPE, signal.SIGXFSZ)


def catch_ignored_signals() -> None:
    """Catch the signals that this process ignores, so that no program inherits that.

    A process started by nohup or by a shell's ``&`` ignores some, and an ignored signal stays
    ignored across exec, while a caught one is back at its default (execve(2), signal(7)).
    For this process nothing changes. SIGPIPE and SIGXFSZ, which every Python ignores, are left
    to subprocess, which restores them.

    :raises ValueError: this is not the main thread, the only one that may do so.
    """
    for number in signal.valid_signals().difference(_RESTORED):
        if signal.getsignal(number) is signal.SIG_IGN:
            # A caught SIGCHLD would wake the loop at each end of a child; its default does
            # nothing, but unlike an ignored one it leaves us the exit codes of children.
            default = number == signal.SIGCHLD
            signal.signal(number, signal.SIG_DFL if default else lambda *_: None)


def unblock_signals() -> None:
    """Unblock all signals for this thread, so that no program that it starts has any blocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


class Launched(NamedTuple):
    """A program that was started.

    :param main: its process, a child of ours to be reaped, and a pidfd to be closed.
    :param bound_before: inodes of the sockets that others had bound to its ports before: of other
        address families, so that they are not in its way.
    """

    main: Handle
    bound_before: frozenset[int]


def launch(
    spec: LaunchSpec, run_id: str, base_env: Mapping[str, str], terminal: int | None
) -> Launched:
    """Start the program of a spec, in a session of its own.

    It starts clean: no signal is ignored (see :func:`catch_ignored_signals`) or blocked (see
    :func:`unblock_signals`), and it has no descriptors other than its terminal, or the null device
    and its log.

    :param spec: what to start, and where.
    :param run_id: identifies its processes, in their environment.
    :param base_env: its environment, before the spec's own variables.
    :param terminal: the program's end of its terminal, which stays the caller's to close; None
        when it has none.
    :raises LaunchFailed: nothing was started, or what was has been killed.
    """
    _write_files(spec)
    for port in spec.ports:
        check_free(port)
    bound_before = _bound_elsewhere(spec.ports)
    environment = {**base_env, **spec.env, RUN_ID_VARIABLE: run_id}
    started = _popen if terminal is None else partial(_popen_on, terminal)
    return Launched(_watchable(spec, started(spec, environment)), bound_before)


def _watchable(spec: LaunchSpec, popen: subprocess.Popen[bytes]) -> Handle:
    """The process that was just started.

    :raises LaunchFailed: it cannot be watched, and has been killed.
    """
    try:
        child = open_child(popen.pid)
    except OSError as error:
        popen.kill()
        popen.wait()
        raise LaunchFailed(f"cannot watch {spec.argv[0]}: {_advice(error)}") from error
    # It is reaped through its pidfd: its Popen must neither complain nor wait for it.
    popen.returncode = 0
    if child is None:
        raise LaunchFailed(f"{spec.argv[0]} was reaped by something other than this server")
    return child


def in_use(place: Port | str) -> str:
    """Say that a port, or the path of a socket, is taken, and what to do about it.

    :param place: what another process has bound.
    """
    kind = "port" if isinstance(place, Port) else "path"
    return (
        f"{place} is in use by another process of this machine: stop that, or choose another {kind}"
    )


def _write_files(spec: LaunchSpec) -> None:
    directory = Path(spec.cwd)
    try:
        make_directories(directory)
        for name, content in spec.files.items():
            # Written beside, then renamed: a crash must not leave half a script to be run.
            beside = directory / f".{name}.new"
            write_new(beside, content)
            beside.replace(directory / name)
    except OSError as error:
        raise LaunchFailed(f"cannot write to the directory {spec.cwd}: {_advice(error)}") from error


def check_free(port: Port) -> None:
    """Check that a port can be bound on all addresses right now.

    :raises LaunchFailed: it cannot; the text says what to do.
    """
    try:
        try_port(port.kind.upper(), port.number)
    except OSError as error:
        raise LaunchFailed(_why_not_bound(port, error)) from error


def _bound_elsewhere(ports: Collection[Port]) -> frozenset[int]:
    """The inodes of sockets that are bound to ports which are free for IPv4.

    To list all sockets of the machine at each start would cost more than all else that the server
    does for one, and a port is hardly ever taken for IPv6 alone: that is found out by trying.

    :raises LaunchFailed: the kernel does not list its sockets.
    """
    taken = [port for port in ports if _is_taken_for_ipv6(port)]
    if not taken:
        return frozenset()
    try:
        return frozenset(chain.from_iterable(bound_sockets(taken).values()))
    except OSError as error:
        raise LaunchFailed(f"the kernel does not list its sockets: {_advice(error)}") from error


def _is_taken_for_ipv6(port: Port) -> bool:
    try:
        try_port(port.kind.upper(), port.number, socket.AF_INET6)
    except OSError as error:
        # Where there is no IPv6, nobody has the port for it.
        return error.errno == errno.EADDRINUSE
    return False


def _why_not_bound(port: Port, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return in_use(port)
    if error.errno == errno.EACCES:
        return f"{port} is reserved for privileged programs: choose one above 1023"
    return f"{port} cannot be used: {_advice(error)}"


def _popen(spec: LaunchSpec, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        log = open_log(Path(spec.cwd, spec.log_name))
    except OSError as error:
        raise LaunchFailed(f"cannot open the log {spec.log_name}: {_advice(error)}") from error
    try:
        with _timer_slack(spec.timer_slack_ns):
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
    finally:
        os.close(log)


def _popen_on(
    terminal: int, spec: LaunchSpec, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a program on a terminal, which controls it."""
    search_path = environment.get("PATH")
    command = leading_a_session(spec.argv, search_path)
    # The command before it would not say why it cannot be started.
    _check_program(spec, search_path)
    try:
        with _timer_slack(spec.timer_slack_ns):
            return subprocess.Popen(
                command,
                cwd=spec.cwd,
                env=environment,
                stdin=terminal,
                stdout=terminal,
                stderr=terminal,
            )
    except OSError as error:
        raise LaunchFailed(_why_not_started(spec, error, search_path)) from error


def _check_program(spec: LaunchSpec, search_path: str | None) -> None:
    if shutil.which(spec.argv[0], path=search_path) is None:
        exists = shutil.which(spec.argv[0], os.F_OK, search_path) is not None
        error = OSError(errno.EACCES if exists else errno.ENOENT, "")
        raise LaunchFailed(_why_not_started(spec, error, search_path))


@contextmanager
def _timer_slack(nanoseconds: int | None) -> Iterator[None]:
    """Let this thread, and so its forks, have a timer slack (prctl(2)); None changes nothing."""
    if nanoseconds is None:
        yield
        return
    # Imported late: not every lab needs it, and it would slow down each start of the server.
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(nanoseconds), 0, 0, 0)
    try:
        yield
    finally:
        # The next program that this thread starts did not ask for it: 0 is the usual value.
        prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(0), 0, 0, 0)


def _why_not_started(spec: LaunchSpec, error: OSError, path: str | None) -> str:
    program = spec.argv[0]
    if error.errno == errno.ENOENT:
        if shutil.which(program, os.F_OK, path) is None:
            return f"{program} does not exist: install it or correct the configured path"
        return f"{program} needs an interpreter or loader that does not exist: install it again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{program} may not be executed: check that it is a program and its permissions"
    return f"cannot start {program}: {_advice(error)}"


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "it is not a program of this machine: check the configured path"
    return advice(error) or error.strerror or str(error)
