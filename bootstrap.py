#!/usr/bin/env python3
"""Sets up everything from a fresh clone, then runs the demo, the tests or the server.

Needs Python 3.11 or later and nothing else. Older versions can parse it too, so that
they can look for a newer one or say what is missing.
"""

import argparse
import configparser
import contextlib
import glob
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)
PLUGINS = ("udp", "ethernet", "linux", "v2", "vpcs")
SERVER = ("-e", ".", *(part for name in PLUGINS for part in ("-e", "./plugins/%s" % name)))
TOX = ("tox>=4.30,<5", "tox-uv>=1.28,<2")
APT = "apt-get install -y --no-install-recommends"
TESTED_WITH = (
    *("vpcs", "telnet", "curl", "strace", "tshark", "vtysh", "ping", "traceroute"),
    *("qemu-system-x86_64", "qemu-img", "cpulimit", "busybox", "swtpm", "ovmf"),
)
BROWSER = ("chromium", "chromedriver")
# All others are named like their program.
PACKAGES = {
    "busybox": "busybox-static",
    "chromedriver": "chromium-driver",
    "ping": "iputils-ping",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "vtysh": "frr",
}

# No program, but files for QEMU.
OVMF = "/usr/share/OVMF"

# Debian starts the services of what it installs, unless a file says no. FRR's must not run: it
# would change the routes of the machine itself.
POLICY = "/usr/sbin/policy-rc.d"
QUIETLY = """
if [ ! -e "$0" ]; then
    trap 'rm -f "$0"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > "$0"
    chmod 755 "$0"
fi
"$@" || exit
if command -v systemctl > /dev/null; then systemctl --quiet disable frr; fi
"""

# Run by a Python before it is used; any other exit code means that it cannot be used.
COMPLETE, NO_ENSUREPIP = 0, 3
PROBE = """
import importlib.util, sys
if sys.version_info < (3, 11): sys.exit(1)
sys.exit(0 if importlib.util.find_spec("ensurepip") else 3)
"""

# What tools print when something foreseeable goes wrong, and what to do about it.
OFFLINE = (
    "resolv|name resolution|service not known|unreachable|Connection refused|timed out"
    "|NewConnectionError|ProxyError|Could not connect|from versions: none"
)
HINTS = {
    OFFLINE: "No package server was reached: check the network, proxy and package index settings.",
    "No space left on device": "The disk is full: make room.",
    "Could not get lock|Unable to acquire": "Another program is installing packages: let it end.",
    "Permission denied|Read-only file system": "This user may not write there.",
}


class Problem(Exception):
    """Something the user has to know, in full sentences."""


def say(text: str, end: str = "\n") -> None:
    print("[bootstrap] " + text, end=end, flush=True)


def open_closed_streams() -> None:
    """Give streams that are closed the null device, before a file of ours gets their numbers."""
    while True:
        null = os.open(os.devnull, os.O_RDWR)
        if null > 2:
            os.close(null)
            break
        os.set_inheritable(null, True)
    sys.stdout = sys.stdout or os.fdopen(os.dup(1), "w")
    sys.stderr = sys.stderr or os.fdopen(os.dup(2), "w")


def silently(command: "list[str]") -> int:
    nothing = subprocess.DEVNULL
    try:
        return subprocess.call(command, stdin=nothing, stdout=nothing, stderr=nothing, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return 127


# --- Which Python


def pyenv_directories() -> "list[str]":
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return sorted(glob.glob(os.path.join(root, "versions", "3.1[1-9]*", "bin")))


def candidates() -> "list[str]":
    """Pythons that may do: first those that the tests run on, then newer ones."""
    found = [shutil.which("python3.%d" % minor) for minor in (13, 12, 11, *range(14, 20))]
    found += [folder + "/python3" for folder in reversed(pyenv_directories())]
    return [path for path in found if path]


def better_python(version: "tuple[int, ...]", has_ensurepip: bool) -> "str | None":
    """The Python to continue with; None for the running one."""
    if version >= OLDEST and has_ensurepip:
        return None
    verdicts = {silently([path, "-c", PROBE]): path for path in reversed(candidates())}
    if COMPLETE in verdicts or version >= OLDEST:
        return verdicts.get(COMPLETE)
    if NO_ENSUREPIP in verdicts:
        return verdicts[NO_ENSUREPIP]
    raise Problem(
        "Python %s is too old, and no Python 3.11 or later was found in PATH or under ~/.pyenv.\n"
        "Debian 12, Ubuntu 24.04 and later have one: apt-get install python3\n"
        "On older systems: pyenv install 3.12" % ".".join(map(str, version[:3]))
    )


def has_ensurepip() -> bool:
    return importlib.util.find_spec("ensurepip") is not None


# --- Running tools


def step(label: str, command: "list[str]", log: Path) -> None:
    """Run one tool and keep its output in the log; raise a Problem if it fails."""
    say(label + " ...", end=" ")
    begin = time.monotonic()
    with log.open("ab", buffering=0) as sink:
        sink.write(("\n$ %s\n" % " ".join(command)).encode())
        code = call(command, sink.fileno())
    print("%s (%.1f s)" % ("failed" if code else "done", time.monotonic() - begin), flush=True)
    if code:
        raise Problem("%s failed (exit code %d):\n%s" % (label, code, explain(log)))


def call(command: "list[str]", sink: int) -> int:
    """Exit code of a command; passes an interrupt on to it and waits for its end."""
    environment = dict({"PIP_RETRIES": "2"}, **os.environ)
    nothing = subprocess.DEVNULL
    child = subprocess.Popen(
        command, cwd=str(ROOT), env=environment, stdin=nothing, stdout=sink, stderr=sink
    )
    try:
        return child.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # sudo belongs to root and gets the terminal's own
            child.send_signal(signal.SIGINT)
        child.wait()
        raise


def explain(log: Path) -> str:
    """The end of the last tool's output, and a hint taken from the whole log."""
    text = log.read_text(errors="replace")
    lines = text.rpartition("\n$ ")[2].splitlines()[1:]
    tail = ["    " + line for line in lines if line.strip()][-12:]
    hints = [hint for pattern, hint in HINTS.items() if re.search(pattern, text)]
    advice = [*hints, "The lines above say why."][0] + " Then run me again."
    return "\n".join([*tail, advice, "The whole output is in %s" % log])


# --- Packages of the system


def vpcs_setting() -> "str | None":
    """The path of VPCS, read as the server does: from the environment, else the last file."""
    user = os.path.expanduser("~/.config")
    xdg = os.environ.get("XDG_CONFIG_HOME", "")
    folders = dict.fromkeys(("/etc/xdg", user, xdg if xdg.startswith("/") else user))
    names = ("/GNS3.conf", "/GNS3/gns3_server.conf")
    files = [folder + name for folder in folders for name in names]
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    with contextlib.suppress(UnicodeDecodeError, configparser.Error):  # the server will complain
        parser.read([*files, "gns3_server.conf"], encoding="utf-8-sig")
    path = parser.get("VPCS", "vpcs_path", fallback="")
    path = os.environ.get("GNS3_VPCS_VPCS_PATH") or path
    return os.path.expanduser(os.path.expandvars(path)) if "/" in path else None


def is_there(name: str) -> bool:
    if name == "ovmf":
        return os.path.isdir(os.environ.get("OVMF", OVMF))
    return shutil.which(name) is not None


def missing_packages(programs: "tuple[str, ...]") -> "list[str]":
    """Debian packages that are needed and missing."""
    vpcs = vpcs_setting()
    if vpcs and not shutil.which(vpcs):
        raise Problem("The setting vpcs_path names %s, which is not a program." % vpcs)
    missing = [name for name in programs if not (is_there(name) or (name == "vpcs" and vpcs))]
    return [PACKAGES.get(name, name) for name in missing]


def become_root() -> "tuple[list[str], str]":
    """What to put before a command that needs root, and the reason if that is impossible."""
    if os.geteuid() == 0:
        return [], ""
    if not shutil.which("sudo"):
        return [], "you are not root and there is no sudo"
    if silently(["sudo", "-n", "true"]):
        return ["sudo"], "you are not root and sudo asks for a password"
    return ["sudo", "-n"], ""


def install_packages(packages: "list[str]", log: Path) -> None:
    prefix, why = become_root()
    if not shutil.which("apt-get"):
        why = "this system has no apt-get"
    if why:
        raise Problem(refusal(packages, why, "sudo " if prefix else ""))
    lock = ["-o", "DPkg::Lock::Timeout=120"]
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", *APT.split(), *lock, *packages]
    if "frr" in packages:
        apt = ["sh", "-c", QUIETLY, os.environ.get("POLICY_RC_D", POLICY), *apt]
    apt = [*prefix, *apt]
    label = "Installing %s with apt-get" % ", ".join(packages)
    try:
        step(label, apt, log)
    except Problem:  # most often the package lists are missing or stale
        step("Refreshing apt's lists", [*prefix, "apt-get", "update"], log)
        step(label, apt, log)


def refusal(packages: "list[str]", why: str, sudo: str) -> str:
    update, install = sudo + "apt-get update", "%s%s %s" % (sudo, APT, " ".join(packages))
    return (
        "Missing: %s. I cannot install this, because %s.\n"
        "On Debian and Ubuntu run this%s; elsewhere install the matching packages:\n"
        "    %s && %s\nThen run me again."
    ) % (", ".join(packages), why, "" if sudo else " as root", update, install)


# --- The virtual environment


class Environment:
    """A virtual environment of our own, with a stamp that says what is in it.

    The stamp is removed first and written last: if a directory has none, its making
    was interrupted, and it is made again from scratch.
    """

    def __init__(self, path: Path, packages: "tuple[str, ...]", purpose: str):
        self.path = path
        self.packages = packages
        self.purpose = purpose  # the program that it is made for
        self.log = path / "bootstrap.log"  # its presence also says that we made the directory
        self.stamp = path / "bootstrap.json"

    def program(self, name: str) -> str:
        return str(self.path / "bin" / name)

    def wanted(self) -> "dict[str, object]":
        digest = hashlib.sha256(repr(self.packages).encode())
        for file in [ROOT / "setup.cfg", *sorted(ROOT.glob("plugins/*/setup.cfg"))]:
            digest.update(file.read_bytes())
        base = [str(self.path), "%d.%d" % sys.version_info[:2]]
        return {"base": base, "sources": digest.hexdigest()}

    def present(self) -> "dict[str, object]":
        """What the stamp says; nothing if the programs are gone."""
        try:
            stamp = dict(json.loads(self.stamp.read_text()))
        except (OSError, ValueError):
            return {}
        programs = [self.program("python"), self.program(self.purpose)]
        return stamp if all(os.access(program, os.X_OK) for program in programs) else {}

    def prepare(self, programs: "tuple[str, ...]") -> None:
        """Bring machine and environment to the wanted state, if they are not in it."""
        if missing_packages(programs) or self.present() != self.wanted():
            with alone():
                self.repair(programs)
        if missing_packages(programs):
            names = ", ".join(missing_packages(programs))
            raise Problem("%s was installed, but is not found in PATH." % names)

    def repair(self, programs: "tuple[str, ...]") -> None:
        self.claim()
        packages, wanted, present = missing_packages(programs), self.wanted(), self.present()
        fresh = present.get("base") != wanted["base"]
        if fresh and not has_ensurepip():
            packages.insert(0, "python%d.%d-venv" % sys.version_info[:2])
        if packages:
            install_packages(packages, self.log)
        if fresh:
            self.create()
        if present != wanted:
            self.fill(wanted)

    def claim(self) -> None:
        if self.path.exists() and not self.log.exists():
            raise Problem("I did not make %s: move it elsewhere, then run me again." % self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")

    def create(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(str(entry))
            elif entry != self.log:
                entry.unlink()
        place, version = self.path.relative_to(ROOT), sys.version.split()[0]
        command = [sys.executable, "-m", "venv", str(self.path)]
        step("Creating %s with Python %s" % (place, version), command, self.log)

    def fill(self, wanted: "dict[str, object]") -> None:
        with contextlib.suppress(FileNotFoundError):
            self.stamp.unlink()
        pip = "-m pip install --no-input --no-user --disable-pip-version-check --progress-bar off"
        step(
            "Installing " + self.purpose,
            [self.program("python"), *pip.split(), *self.packages],
            self.log,
        )
        half = self.stamp.with_suffix(".new")
        half.write_text(json.dumps(wanted))
        half.replace(self.stamp)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One bootstrap.py at a time in this folder."""
    import fcntl  # not on every system, but main() has excluded the others by now

    with open(__file__) as this:
        try:
            fcntl.flock(this, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another bootstrap.py is running here: waiting for it")
            fcntl.flock(this, fcntl.LOCK_EX)
        yield


# --- Commands


def run_server(arguments: "list[str]") -> None:
    server = Environment(ROOT / ".venv", SERVER, "gns3server")
    server.prepare(("vpcs", "vtysh") if arguments[:2] == ["demo", "ospf"] else ("vpcs",))
    become([server.program("gns3server"), *arguments], dict(os.environ))


def run_tests(arguments: "list[str]") -> None:
    os.environ["HOME"] = home()
    tox = Environment(ROOT / ".tox" / "bootstrap", TOX, "tox")
    tox.prepare(TESTED_WITH + (BROWSER if drive_a_browser(arguments) else ()))
    os.environ.setdefault("UV_NATIVE_TLS", "1")  # trust what the rest of the system trusts
    environment = dict(os.environ, UV_PYTHON_DOWNLOADS="never")
    path = os.environ.get("PATH", os.defpath)
    environment["PATH"] = os.pathsep.join([path, *pyenv_directories()])
    if not uv_works(tox):
        say("uv does not work here: tox uses virtualenv and pip instead, which is slower")
        environment["TOX_DISABLED_EXTERNAL_PLUGINS"] = "tox-uv"
        environment["TOX_INSTALL"] = "python -m pip install"
    os.chdir(str(ROOT))
    become([tox.program("tox"), "run", *arguments], environment)


def drive_a_browser(arguments: "list[str]") -> bool:
    """Whether the environment with tests that do is among those that tox is asked for."""
    tox = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    tox.add_argument("-e", dest="environments", action="append", nargs="?", const="", default=[])
    asked = arguments[: arguments.index("--")] if "--" in arguments else arguments
    chosen = tox.parse_known_args(asked)[0].environments
    return "full" in ",".join(chosen).split(",")


def home() -> str:
    """Where pip, tox and uv keep caches; HOME may still be that of another user."""
    import pwd  # not on every system, but main() has excluded the others by now

    named = os.path.expanduser("~")
    if os.access(named, os.W_OK | os.X_OK):
        return named
    with contextlib.suppress(KeyError):  # a user may have no entry
        own = pwd.getpwuid(os.geteuid()).pw_dir
        if os.access(own, os.W_OK | os.X_OK):
            say("This user may not write in %s: using %s instead" % (named, own))
            return own
    raise Problem("This user may not write in %s: set HOME to a folder of their own." % named)


def uv_works(tox: Environment) -> bool:
    """Whether uv, which does not read pip's settings, also finds a package index."""
    proof = tox.path / "uv-works"
    dry_run = ["pip", "install", "--dry-run", "--no-deps", "--python", tox.program("python")]
    if not proof.exists() and silently([tox.program("uv"), *dry_run, "pytest"]) == 0:
        proof.touch()
    return proof.exists()


def become(command: "list[str]", environment: "dict[str, str]") -> None:
    """Replace this process with the command, which then gets signals and sets the exit code."""
    sys.stdout.flush()
    os.execve(command[0], command, environment)


def read_arguments(arguments: "list[str]") -> "tuple[str, list[str]]":
    parser = argparse.ArgumentParser(
        prog="bootstrap.py",
        description=(__doc__ or "").split("\n")[0],
        epilog="What follows the command is passed on: serve -- --port 8080, test -- -e lint",
    )
    parser.add_argument(
        "command", choices=("demo", "test", "serve"), help="what to run after setup"
    )
    parser.add_argument("further", nargs=argparse.REMAINDER, help="arguments to pass on")
    if not arguments:
        parser.print_help()
        sys.stdout.flush()
        parser.exit()
    parsed = parser.parse_args(arguments)
    return parsed.command, parsed.further[parsed.further[:1] == ["--"] :]


def main(arguments: "list[str]") -> int:
    try:
        command, further = read_arguments(arguments)
        if not sys.platform.startswith("linux"):
            raise Problem("This server runs on Linux only; this is %s." % sys.platform)
        python = better_python(sys.version_info[:3], has_ensurepip())
        if python:
            become([python, str(ROOT / "bootstrap.py"), *arguments], dict(os.environ))
        elif command == "test":
            run_tests(further)
        else:
            run_server(["demo", *further] if command == "demo" else further)
    except Problem as problem:
        print("\n%s" % problem, file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print("\n%s.\nI need a folder with room that I may write to." % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130
    return 0


if __name__ == "__main__":
    open_closed_streams()
    sys.exit(main(sys.argv[1:]))
