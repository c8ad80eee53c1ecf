"""bootstrap.py on machines that lack something.

It runs in a process of its own, in a small clone, with a PATH that holds nothing but
shell scripts that stand for apt-get, sudo, Pythons and what pip installs.
"""

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[2] / "bootstrap.py"

# Facts about a process that no script in PATH can pretend.
DRIVER = """
import json, os, pwd, runpy, signal, sys, types
facts = json.loads(sys.argv[1])
# As on a terminal: what runs in the background may have inherited that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.executable, sys.platform = facts["python"], facts["platform"]
sys.version_info = tuple(facts["version"])
os.geteuid = lambda: facts["uid"]
pwd.getpwuid = lambda uid: types.SimpleNamespace(pw_dir=facts["entry"])
sys.modules["ensurepip"] = sys if facts["ensurepip"] else None
sys.argv[:2] = [facts["script"]]
sys.path[0] = os.path.dirname(facts["script"])
runpy.run_path(facts["script"], run_name="__main__")
"""

SCRIPT = """#!/bin/sh
echo "{name} $*" >> {calls}
PATH=/usr/bin:/bin
"""

PYTHON = """
programs=$(dirname "$0")
case "$*" in
    "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
    *"pip install"*)
        for program in gns3server tox uv; do
            printf '#!/bin/sh\\necho "%s got $*"\\n' $program > "$programs/$program"
            chmod +x "$programs/$program"
        done ;;
esac
"""

APT = """
case "$1" in
    update) touch {lists} ;;
    install)
        [ -e {lists} ] || {{ echo "E: Unable to locate package" >&2; exit 100; }}
        for package; do
            case $package in
                busybox-static) program=busybox ;;
                chromium-driver) program=chromedriver ;;
                frr) program=vtysh; cp {home}/policy-rc.d {home}/policy ;;
                iputils-ping) program=ping ;;
                ovmf) program=ovmf; mkdir {home}/ovmf ;;
                qemu-system-x86) program=qemu-system-x86_64 ;;
                qemu-utils) program=qemu-img ;;
                *) program=$package ;;
            esac
            printf '#!/bin/sh\\n' > {programs}/$program; chmod +x {programs}/$program
        done ;;
esac
"""


@dataclass
class Machine:
    """A computer with a clone on it, as far as bootstrap.py can tell."""

    home: Path
    uid: int = 0
    ensurepip: bool = True
    version: tuple[int, int, int] = (3, 11, 2)
    platform: str = "linux"
    entry: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.clone = self.home / "clone"
        self.programs = self.home / "programs"
        self.calls = self.home / "calls"
        self.lists = self.home / "lists"
        (self.clone / "plugins" / "udp").mkdir(parents=True)
        (self.clone / "setup.cfg").write_text("[metadata]\n")
        (self.clone / "plugins" / "udp" / "setup.cfg").write_text("[metadata]\n")
        (self.clone / "bootstrap.py").write_bytes(BOOTSTRAP.read_bytes())
        self.programs.mkdir()
        for program in ("env", "true", "sh", "rm", "chmod"):
            (self.programs / program).symlink_to(f"/usr/bin/{program}")
        self.has("running-python", PYTHON)

    def has(self, name, body="", folder=None):
        script = (folder or self.programs) / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(SCRIPT.format(name=name, calls=self.calls) + body)
        script.chmod(0o755)
        return script

    def has_apt(self, *, lists=True):
        self.has("apt-get", APT.format(lists=self.lists, programs=self.programs, home=self.home))
        if lists:
            self.lists.touch()

    def run(self, *arguments, clone=None):
        """Run bootstrap.py; its exit code, all that it printed, and the calls that it made."""
        self.calls.write_text("")
        facts = {
            "python": str(self.programs / "running-python"),
            "script": str((clone or self.clone) / "bootstrap.py"),
            "uid": self.uid,
            "entry": str(self.entry or self.home),
            "ensurepip": self.ensurepip,
            "version": self.version,
            "platform": self.platform,
        }
        environment = {
            "PATH": str(self.programs),
            "HOME": str(self.home),
            "OVMF": str(self.home / "ovmf"),
            "POLICY_RC_D": str(self.home / "policy-rc.d"),
            **self.environment,
        }
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(facts), *arguments],
            env=environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stdout
        return Outcome(done.returncode, done.stdout, self.calls.read_text().splitlines())


@dataclass
class Outcome:
    code: int
    output: str
    calls: list[str]

    def called(self, *words):
        return any(all(word in call for word in words) for call in self.calls)


PROGRAMS = (
    *("vpcs", "telnet", "curl", "strace", "tshark", "vtysh", "ping", "traceroute"),
    *("qemu-system-x86_64", "qemu-img", "cpulimit", "busybox", "swtpm"),
)
"""What tests need besides Python."""


@pytest.fixture
def bare(tmp_path):
    """A machine with nothing but a Python."""
    return Machine(tmp_path)


@pytest.fixture
def machine(bare):
    """A machine that has all it needs."""
    for program in PROGRAMS:
        bare.has(program)
    (bare.home / "ovmf").mkdir()
    return bare


def test_parses_on_old_pythons():
    ast.parse(BOOTSTRAP.read_text(), feature_version=(3, 6))


def test_alone_it_shows_what_it_can_do(machine):
    outcome = machine.run()
    assert outcome.code == 0
    assert outcome.output.startswith("usage: bootstrap.py [-h] {demo,test,serve}")
    assert "What follows the command is passed on" in outcome.output
    assert outcome.calls == []


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_it_needs_no_streams(closed):
    argv = ["sh", "-c", f'exec "$0" "$1" {closed}', sys.executable, str(BOOTSTRAP)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_whoever_has_read_enough_may_stop_reading():
    reader, writer = os.pipe()
    os.close(reader)
    # Unbuffered, argparse itself keeps quiet.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, str(BOOTSTRAP)],
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


# Set-up, and set-up again


def test_serve_installs_everything_and_becomes_the_server(machine):
    outcome = machine.run("serve", "--", "--port", "8080")
    assert outcome.code == 0
    assert outcome.called("-m venv")
    assert outcome.called(
        "pip install",
        "-e . -e ./plugins/udp -e ./plugins/ethernet -e ./plugins/linux -e ./plugins/v2 "
        "-e ./plugins/vpcs",
    )
    assert outcome.output.endswith("gns3server got --port 8080\n")


def test_demo_passes_arguments_on_without_dashes_too(machine):
    assert machine.run("demo", "--slow").output.endswith("gns3server got demo --slow\n")


def test_second_run_calls_no_tool_and_says_nothing(machine):
    machine.run("demo")
    outcome = machine.run("demo")
    assert outcome.output == "gns3server got demo\n"
    assert outcome.calls == []


@pytest.mark.parametrize("changed", ["setup.cfg", "plugins/udp/setup.cfg"])
def test_changed_requirements_are_installed_into_the_same_environment(machine, changed):
    machine.run("demo")
    (machine.clone / changed).write_text("[metadata]\nname = other\n")
    outcome = machine.run("demo")
    assert outcome.called("pip install")
    assert not outcome.called("-m venv")


def test_new_plugin_is_noticed(machine):
    machine.run("demo")
    plugin = machine.clone / "plugins" / "new"
    plugin.mkdir()
    (plugin / "setup.cfg").write_text("[metadata]\n")
    assert machine.run("demo").called("pip install")


def test_interrupted_environment_is_made_again(machine):
    machine.run("demo")
    (machine.clone / ".venv" / "bootstrap.json").unlink()
    left_over = machine.clone / ".venv" / "lib" / "half"
    left_over.mkdir(parents=True)
    assert machine.run("demo").called("-m venv")
    assert not left_over.exists()


@pytest.mark.parametrize("program", ["python", "gns3server"])
def test_environment_whose_programs_are_gone_is_made_again(machine, program):
    machine.run("demo")
    (machine.clone / ".venv" / "bin" / program).unlink()
    outcome = machine.run("demo")
    assert outcome.called("-m venv")
    assert outcome.code == 0


def test_copied_environment_is_made_again(machine):
    machine.run("demo")
    copy = machine.home / "copy"
    subprocess.run(["cp", "-r", machine.clone, copy], check=True)
    assert machine.run("demo", clone=copy).called("-m venv", str(copy))


def test_other_python_makes_the_environment_again(machine):
    machine.run("demo")
    machine.version = (3, 12, 1)
    assert machine.run("demo").called("-m venv")


def test_environment_of_the_user_is_left_alone(machine):
    own = machine.clone / ".venv" / "own"
    own.mkdir(parents=True)
    outcome = machine.run("demo")
    assert outcome.code == 1
    assert "I did not make" in outcome.output
    assert own.exists()
    assert outcome.calls == []


# Packages of the system


def test_root_installs_what_is_missing(bare):
    bare.has_apt()
    outcome = bare.run("test")
    assert outcome.code == 0
    packages = "vpcs telnet curl strace tshark frr iputils-ping traceroute"
    packages += " qemu-system-x86 qemu-utils cpulimit busybox-static swtpm ovmf"
    assert outcome.called("apt-get install -y --no-install-recommends", packages)
    assert not outcome.called("apt-get update")


@pytest.mark.parametrize(
    "arguments", ["-e full", "-efull", "-e lint,full", "-v -e lint -e full -- -k browser"]
)
def test_what_takes_long_has_a_browser(machine, arguments):
    machine.has_apt()
    outcome = machine.run("test", "--", *arguments.split())
    assert outcome.code == 0
    assert outcome.called("apt-get install", "--no-install-recommends", "chromium chromium-driver")
    assert outcome.output.endswith(f"tox got run {arguments}\n")


@pytest.mark.parametrize("arguments", ["", "-e", "-e lint", "-e fuller", "-e lint -- -e full"])
def test_nothing_else_has_a_browser(machine, arguments):
    machine.has_apt()
    assert machine.run("test", "--", *arguments.split()).code == 0
    assert not (machine.programs / "chromium").exists()


@pytest.mark.parametrize(("arguments", "installed"), [(("ospf",), True), (("vlans",), False)])
def test_a_demo_with_routers_gets_frr(bare, arguments, installed):
    bare.has_apt()
    outcome = bare.run("demo", *arguments)
    assert outcome.code == 0
    assert outcome.called("apt-get install", "frr") == installed


def test_the_service_of_frr_is_not_started(bare):
    bare.has_apt()
    assert bare.run("test").code == 0
    # What was there while packages were installed: the answer to whether services may be started.
    assert (bare.home / "policy").read_text() == "#!/bin/sh\nexit 101\n"
    assert not (bare.home / "policy-rc.d").exists()


def test_a_policy_of_the_machine_is_left_alone(bare):
    bare.has_apt()
    (bare.home / "policy-rc.d").write_text("theirs")
    assert bare.run("test").code == 0
    assert (bare.home / "policy-rc.d").read_text() == "theirs"


def test_missing_package_lists_are_fetched(bare):
    bare.has_apt(lists=False)
    outcome = bare.run("demo")
    assert outcome.code == 0
    assert outcome.called("apt-get update")
    assert (bare.programs / "vpcs").exists()


def test_python_without_ensurepip_gets_its_venv_package(machine):
    machine.ensurepip = False
    machine.has_apt()
    outcome = machine.run("demo")
    assert outcome.code == 0
    assert outcome.called("apt-get install", "python3.11-venv")


def test_sudo_without_password_is_used(bare):
    bare.uid = 1000
    bare.has_apt()
    bare.has("sudo", f'shift; PATH={bare.programs}; exec "$@"')
    outcome = bare.run("demo")
    assert outcome.code == 0
    assert outcome.called("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install", "vpcs")


def test_user_without_root_and_sudo_gets_the_one_command(bare):
    bare.uid = 1000
    bare.ensurepip = False
    bare.has_apt()
    outcome = bare.run("demo")
    assert outcome.code == 1
    assert "because you are not root and there is no sudo" in outcome.output
    command = "apt-get install -y --no-install-recommends python3.11-venv vpcs\n"
    assert command in outcome.output
    assert outcome.calls == []


def test_user_whose_sudo_asks_for_a_password_gets_the_one_command(bare):
    bare.uid = 1000
    bare.has_apt()
    bare.has("sudo", "exit 1")
    outcome = bare.run("demo")
    assert outcome.code == 1
    assert "sudo asks for a password" in outcome.output
    assert "&& sudo apt-get install -y --no-install-recommends vpcs\n" in outcome.output


def test_system_without_apt_is_told_what_is_missing(bare):
    outcome = bare.run("demo")
    assert outcome.code == 1
    assert "Missing: vpcs. I cannot install this, because this system has no apt-get" in (
        outcome.output
    )


def test_apt_that_fails_is_quoted_with_advice(bare):
    bare.has("apt-get", 'echo "Temporary failure resolving" >&2; exit 100')
    outcome = bare.run("demo")
    assert outcome.code == 1
    assert "    Temporary failure resolving\n" in outcome.output
    assert "No package server was reached" in outcome.output


def test_package_that_brings_no_program_is_noticed(bare):
    bare.has("apt-get")
    outcome = bare.run("demo")
    assert outcome.code == 1
    assert "vpcs was installed, but is not found in PATH" in outcome.output


# VPCS where the settings say


@pytest.fixture(params=["environment", "file", "file of another editor"])
def configure(request, bare):
    def configure(path):
        if request.param == "environment":
            bare.environment["GNS3_VPCS_VPCS_PATH"] = str(path)
        else:
            file = bare.home / ".config" / "GNS3" / "gns3_server.conf"
            file.parent.mkdir(parents=True)
            mark = "" if request.param == "file" else "\ufeff"
            file.write_text(f"{mark}[VPCS]\nvpcs_path = {path}\n")

    return configure


def test_configured_vpcs_is_enough(bare, configure):
    configure(bare.has("vpcs-0.8", folder=bare.home / "own"))
    assert bare.run("demo").code == 0


def test_configured_vpcs_that_does_not_exist_is_named(bare, configure):
    configure("/nowhere/vpcs")
    outcome = bare.run("demo")
    assert outcome.code == 1
    assert "vpcs_path names /nowhere/vpcs, which is not a program" in outcome.output


# Other Pythons


def test_old_python_without_a_newer_one_says_so(machine):
    machine.version = (3, 9, 2)
    outcome = machine.run("demo")
    assert outcome.code == 1
    assert "Python 3.9.2 is too old" in outcome.output


def test_old_python_hands_over_to_a_newer_one(machine):
    machine.version = (3, 9, 2)
    machine.has("python3.13", "exit 127  # as pyenv's shims do without a chosen version")
    machine.has("python3.12", 'echo "newer Python got $*"')
    outcome = machine.run("serve", "--", "--port", "1")
    script = machine.clone / "bootstrap.py"
    assert outcome.output == f"newer Python got {script} serve -- --port 1\n"


def test_old_python_hands_over_to_one_of_pyenv(machine):
    machine.version = (3, 6, 15)
    folder = machine.home / ".pyenv" / "versions" / "3.12.1" / "bin"
    machine.has("python3", 'echo "pyenv got $*"', folder=folder)
    assert machine.run("demo").output.startswith("pyenv got")


def test_python_without_ensurepip_hands_over_to_a_complete_one(machine):
    machine.ensurepip = False
    machine.has("python3.12", '[ "$1" = -c ] && exit 3')
    machine.has("python3.11", 'echo "complete Python got $*"')
    assert machine.run("demo").output.startswith("complete Python got")


def test_old_python_takes_a_newer_one_without_ensurepip_over_none(machine):
    machine.version = (3, 9, 2)
    machine.has("python3.12", '[ "$1" = -c ] && exit 3; echo "newer Python got $*"')
    assert machine.run("demo").output.startswith("newer Python got")


def test_other_systems_get_a_clear_message(machine):
    machine.platform = "darwin"
    outcome = machine.run("demo")
    assert outcome.code == 1
    assert "runs on Linux only" in outcome.output


# Failures and interrupts


def test_no_network_is_explained_and_the_output_kept(machine):
    machine.has(
        "running-python",
        PYTHON + 'case "$*" in *"pip install"*) echo NewConnectionError; exit 1 ;; esac',
    )
    outcome = machine.run("demo")
    assert outcome.code == 1
    assert "No package server was reached" in outcome.output
    log = machine.clone / ".venv" / "bootstrap.log"
    assert str(log) in outcome.output
    assert "NewConnectionError" in log.read_text()


def test_failed_install_is_tried_again(machine):
    machine.has("running-python", PYTHON + 'case "$*" in *"pip install"*) exit 1 ;; esac')
    assert machine.run("demo").code == 1
    machine.has("running-python", PYTHON)
    assert machine.run("demo").output.endswith("gns3server got demo\n")


def test_interrupt_ends_quietly_with_130(machine):
    machine.has("running-python", "kill -INT $PPID")
    outcome = machine.run("demo")
    assert outcome.code == 130
    assert "KeyboardInterrupt" not in outcome.output


def test_folder_that_cannot_be_written_is_explained(machine):
    (machine.clone / ".tox").write_text("in the way")
    outcome = machine.run("test")
    assert outcome.code == 1
    assert "I need a folder with room that I may write to" in outcome.output


# Tests


def tox_that_shows(machine, expression, uv="exit 0"):
    """Let pip install a tox that prints a shell expression and ends with code 7."""
    machine.has(
        "running-python",
        PYTHON
        + f"""
case "$*" in *"pip install"*)
    printf '#!/bin/sh\\necho "{expression}"\\nexit 7\\n' > "$programs/tox"
    printf '#!/bin/sh\\n{uv}\\n' > "$programs/uv" ;;
esac
""",
    )


def test_exit_code_and_arguments_are_those_of_tox(machine):
    tox_that_shows(machine, "tox got $*")
    outcome = machine.run("test", "--", "-e", "lint")
    assert outcome.code == 7
    assert outcome.output.endswith("tox got run -e lint\n")


def test_tox_finds_pyenv_last_and_downloads_no_python(machine):
    folder = machine.home / ".pyenv" / "versions" / "3.13.0" / "bin"
    machine.has("python3", folder=folder)
    tox_that_shows(machine, "$PATH $UV_PYTHON_DOWNLOADS")
    outcome = machine.run("test")
    assert outcome.output.endswith(f"{machine.programs}{os.pathsep}{folder} never\n")


def test_home_of_another_user_is_not_taken(machine):
    machine.environment["HOME"] = str(machine.home / "of-another")
    tox_that_shows(machine, "$HOME")
    outcome = machine.run("test")
    other = machine.environment["HOME"]
    assert f"This user may not write in {other}: using {machine.home} instead\n" in outcome.output
    assert outcome.output.endswith(f"\n{machine.home}\n")


def test_user_without_a_home_is_told_what_to_set(machine):
    machine.entry = machine.home / "never-made"
    machine.environment["HOME"] = str(machine.home / "of-another")
    outcome = machine.run("test")
    assert outcome.code == 1
    assert "set HOME to a folder" in outcome.output
    assert outcome.calls == []


def test_tox_does_without_uv_where_uv_fails(machine):
    tox_that_shows(machine, "$TOX_DISABLED_EXTERNAL_PLUGINS", uv="exit 2")
    outcome = machine.run("test")
    assert "uv does not work here" in outcome.output
    assert outcome.output.endswith("tox-uv\n")


def test_uv_that_worked_once_is_not_asked_again(machine):
    tox_that_shows(machine, "$TOX_DISABLED_EXTERNAL_PLUGINS")
    machine.run("test")
    machine.has("uv", "exit 2", folder=machine.clone / ".tox" / "bootstrap" / "bin")
    outcome = machine.run("test")
    assert outcome.output == "\n"
    assert outcome.calls == []
