"""The first process of a container, which becomes the parent of all orphans in it.

Nobody else can reap them. If it is the server that was started as process 1, it runs in a child
instead: the server itself would have to tell orphans from the processes whose exit codes it wants.
"""

from __future__ import annotations

import os
import signal
import sys

LEFT_OUT = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS, signal.SIGTTIN, signal.SIGTTOU),
}
"""Signals that are not passed on: they cannot be caught, or mean this process alone."""

FROM_KEYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
SI_KERNEL = 0x80
"""The code of a signal that a terminal sends (asm-generic/siginfo.h): the server has it as well."""


def fork_if_first() -> None:
    """If this is process 1, go on in a child. Process 1 reaps, passes signals on, and ends with it.

    To be called before any thread is started. Does nothing in any other process.

    :raises OSError: no child can be made.
    """
    if os.getpid() != 1:
        return
    sys.stdout.flush()
    # Blocked ones wait to be passed on, even those that come before the child is there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - LEFT_OUT)
    server = os.fork()
    if server == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os._exit(_attend(server))


def _attend(server: int) -> int:
    """Reap all children until the server has ended; returns its exit code as a shell would."""
    awaited = signal.valid_signals() - LEFT_OUT
    while True:
        came = signal.sigwaitinfo(awaited)
        if came.si_signo != signal.SIGCHLD:
            if came.si_signo not in FROM_KEYS or came.si_code != SI_KERNEL:
                os.kill(server, came.si_signo)
            continue
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)) is not None:
            if ended.si_pid == server:
                exited = ended.si_code == os.CLD_EXITED
                return ended.si_status if exited else 128 + ended.si_status
