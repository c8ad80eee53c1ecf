"""A TPM: a program of its own beside QEMU, which keeps what it knows in the guest's directory."""

from __future__ import annotations

from gns3server.plugin import Conflict, Machine

SCRIPT = """
program=$1 socket=$2
shift 2
mkdir -p tpm || exit
"$program" socket --tpm2 --tpmstate dir=tpm --ctrl type=unixio,path="$socket" --terminate &
until [ -S "$socket" ]; do
    kill -0 $! 2>/dev/null || exit 1
    sleep 0.02
done
exec "$@"
"""
"""Starts the TPM, waits for its socket, and becomes QEMU. The TPM ends when QEMU hangs up."""

PROGRAM = "swtpm"
INSTALL_HINT = "Install it (on Debian and Ubuntu: sudo apt-get install swtpm), or set tpm to false."


async def around(title: str, socket: str, machine: Machine) -> tuple[str, ...]:
    """What QEMU is started by so that it has a TPM.

    :param title: the guest, for the message.
    :param socket: the path of the TPM's unix socket.
    :raises Conflict: the machine has no program for it.
    """
    program, shell = await machine.find_program(PROGRAM), await machine.find_program("sh")
    if program is None or shell is None:
        raise Conflict(
            f"{title} cannot be started: its tpm needs the program {PROGRAM}, which its machine "
            f"does not have. {INSTALL_HINT}"
        )
    return (shell, "-c", SCRIPT, "sh", program, socket)
