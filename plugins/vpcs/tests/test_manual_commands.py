"""Every command of the manual and of the plugins' READMEs works where it stands, in that order.

One environment is made as the README says, from a copy of this repository. Then each page gets a
home of its own, a shell, and if its reader has one a server. What cannot be run here is in one
list, with the reason. The README, the manual's session and the commands of ``bootstrap.py`` have
tests of their own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import pytest
from rst_blocks import Block, blocks
from vpcs_newcomer import (
    README,
    ROOT,
    Newcomer,
    commands,
    let_others_in,
    make_clone,
    paste,
    run_at,
    use_console,
)
from vpcs_terminal import Terminal

BOOTSTRAP = "it downloads packages, and is run by test_bootstrap_commands.py"
SYSTEMD = "it needs root and systemd: tests/unit/test_service.py has systemd check the unit"
ELSEWHERE = "it needs another computer"
KERNEL = "it needs a kernel: plugins/qemu/tests/test_linux.py boots one"

NOT_RUN = {
    "python3 bootstrap.py demo": BOOTSTRAP,
    "python3 bootstrap.py serve": "it downloads packages, as ``demo`` does; then it is gns3server",
    "python3 bootstrap.py test": "it is what runs this test",
    "bash .ci/run": "it is what runs this test",
    "sudo apt-get install": "it changes the machine",
    "sudo useradd": SYSTEMD,
    "sudo userdel": SYSTEMD,
    "sudo python3 -m venv /opt/gns3server": SYSTEMD,
    "sudo /opt/gns3server/bin/pip install": SYSTEMD,
    "sudo cp gns3server/systemd/": SYSTEMD,
    "sudo systemctl": SYSTEMD,
    "systemctl": SYSTEMD,
    "journalctl": SYSTEMD,
    "sudo install": SYSTEMD,
    "sudo rm": SYSTEMD,
    "sudo -u gns3server": SYSTEMD,
    "sudo ufw": "it changes the machine's firewall",
    "ssh -L": ELSEWHERE,
    "tshark": "it is not everywhere: tests/unit/links has it read captures",
    'curl -s "$link/capture" | wireshark': "it needs a display",
    "curl -u me https://lab.example": "it needs a web server and a name of one's own",
    "git pull": "a copy has no repository to pull from",
    "python3 -m pytest": "tests/docs/test_examples.py runs these tests",
    "python3 -m venv ~/gns3-venv": "the environment is made by it, before all pages",
    "pip install . ./plugins/udp ./plugins/vpcs": "the same",
    "pip install . ./plugins/udp ./plugins/ethernet": "the same",
    "pip install . ./plugins/udp": "the same",
    "pip install ./plugins/qemu": "what it brings is tested in plugins/qemu/tests",
    "curl --data-binary @vmlinuz": KERNEL,
    "curl --data-binary @initrd.gz": KERNEL,
    "curl -X POST $api/projects/$project/qemu/vms": KERNEL,
}
"""The beginnings of commands that this test does not run, and why."""


@dataclass(frozen=True)
class Page:
    """What somebody has who reads a page.

    :param cwd: below the home: the folder that the page is about.
    :param serving: a server runs.
    """

    path: str
    cwd: str = "."
    serving: bool = False


PAGES = (
    Page("plugins/ethernet/README.rst", "clone"),
    Page("plugins/linux/README.rst", "clone"),
    Page("plugins/qemu/README.rst", "clone"),
    Page("plugins/udp/README.rst", "clone"),
    Page("plugins/v2/README.rst", "clone"),
    Page("plugins/vpcs/README.rst", "clone"),
    Page("docs/install.rst", "clone"),
    Page("docs/tutorial.rst", "gns3server-web"),
    Page("docs/testing.rst", "gns3server-web"),
    Page("docs/notifications.rst", serving=True),
    Page("docs/damage.rst", serving=True),
    Page("docs/doctor.rst"),
    Page("docs/labs.rst", serving=True),
    Page("docs/consoles.rst"),
    Page("docs/links.rst", serving=True),
    Page("docs/routers.rst", serving=True),
    Page("docs/machines.rst"),
    Page("docs/snapshots.rst", serving=True),
    Page("docs/architecture.rst", "clone"),
    # It ends by removing what was installed.
    Page("docs/operating.rst", "clone"),
)
ELSEWHERE_TESTED = {"docs/session.rst", "README.rst"}


def shell_blocks(path: Path) -> Iterator[tuple[Block, Block | None]]:
    """The blocks of a page that are for a shell, each with the one that follows."""
    found = [*blocks(path)]
    for block, following in zip_longest(found, found[1:]):
        if block.language == "console":
            lines = (line.removeprefix("$ ") for line in block.lines if line.startswith("$ "))
            yield Block("sh", "\n".join(lines)), None
        elif block.language == "sh":
            yield block, following


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


def test_every_page_with_commands_is_read() -> None:
    paths = [ROOT / "README.rst", *ROOT.glob("docs/*.rst"), *ROOT.glob("plugins/*/README.rst")]
    with_commands = {str(path.relative_to(ROOT)) for path in paths if [*shell_blocks(path)]}
    assert with_commands == {page.path for page in PAGES} | ELSEWHERE_TESTED


def test_what_is_not_run_stands_in_the_manual() -> None:
    written = [
        command
        for page in PAGES
        for block, _ in shell_blocks(ROOT / page.path)
        for command in commands(block)
    ]
    for beginning, reason in NOT_RUN.items():
        assert any(command.startswith(beginning) for command in written), (beginning, reason)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_commands_of_the_manual(newcomer: Newcomer) -> None:
    if not (newcomer.enter and os.access("/dev/net/tun", os.R_OK | os.W_OK)):
        pytest.skip("no TAP interface can be made: no network namespace, or /dev/net/tun is closed")
    home = newcomer.home
    make_clone(home)
    shutil.copytree(ROOT / "docs/examples/gns3server-web", home / "gns3server-web")
    shown = [block for block in blocks(README) if block.language == "sh"]
    make, install = [one for one in shown if not one.text.startswith("python3 bootstrap.py ")][:2]
    with newcomer.at_shell(home / "clone") as shell:
        paste(shell, make)
        let_others_in(home / "gns3-venv")
        run_at(shell, install.text.removesuffix(" && gns3server"))
    there = f"{home}/gns3-venv/bin:{newcomer.env['PATH']}"
    reader = replace(newcomer, env={**newcomer.env, "PATH": there})
    for page in PAGES:
        for used in ("GNS3", ".local", ".config"):
            shutil.rmtree(home / used, ignore_errors=True)
        read(reader, page)


class ServerTerminal:
    """A terminal in which a server may run."""

    def __init__(self, reader: Newcomer, shell: Terminal) -> None:
        self._reader = reader
        self._shell = shell
        self._serving = False

    def serve(self, command: str = "gns3server") -> None:
        """Start a server, in place of one that runs already."""
        self.interrupt()
        self._shell.type(command)
        self._shell.expect("listens on http://")
        self._serving = True

    def interrupt(self) -> None:
        """Press Ctrl+C, if a server runs there."""
        if self._serving:
            self._reader.interrupt_server()
            self._shell.expect("INFO stopped")
            self._serving = False
        self._reader.wait_for_servers()


def read(reader: Newcomer, page: Page) -> None:
    """Do all that a page says."""
    folder = reader.home / page.cwd
    with reader.at_shell(folder) as shell, reader.at_shell(folder) as other:
        server = ServerTerminal(reader, other)
        if page.serving:
            server.serve()
        for block, following in shell_blocks(ROOT / page.path):
            for command in filter(is_run, commands(block)):
                if command == "gns3server" or command.startswith("gns3server --state-path "):
                    server.serve(command)
                elif command.startswith("telnet "):
                    assert following is not None
                    use_console(shell, command, following)
                elif command.startswith("curl -sN "):
                    shell.type(command)
                    shell.expect(r'{"action": "ping"}')
                    shell.press("\x03")
                    run_at(shell, "true")
                else:
                    if command.startswith("gns3server --daemon"):
                        server.interrupt()
                    # The doctor also sees what tests leave that run at the same time.
                    codes = (0, 1) if command.startswith("gns3server doctor") else (0,)
                    # Whoever has a network namespace is root there.
                    run_at(shell, command.replace("sudo ", ""), codes=codes)
        server.interrupt()
