"""Options of the command line: what each sets, what it wins over, and what is left of a file."""

from __future__ import annotations

import pytest

from gns3server import __version__
from gns3server.cli.arguments import make_parser, parse
from gns3server.settings.schema import load
from gns3server.settings.server import ServerSettings

SWITCHES = [
    ("-L", "--local", "local"),
    ("-A", "--allow", "allow_remote_console"),
    ("-q", "--quiet", "quiet"),
    ("-d", "--debug", "debug"),
    ("--ssl", "--ssl", "ssl"),
]


def read(*options: str, files=(), environ=None) -> ServerSettings:
    """The settings that the program has with these options."""
    flags = parse(options, list)
    assert flags.pop("command") == "serve"
    return load(environ or {}, flags, files).server


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file with these lines in its ``[Server]`` section."""

    def write(*lines: str):
        path = tmp_path / "gns3_server.conf"
        path.write_text("\n".join(["[Server]", *lines]))
        return path

    return write


@pytest.mark.statement("RUN-05", "RUN-06")
def test_what_nobody_has_asked_for_is_off():
    server = read()
    assert (server.ssl, server.certfile, server.certkey) == (False, "", "")
    assert [getattr(server, name) for _, _, name in SWITCHES] == [False] * len(SWITCHES)


@pytest.mark.statement("RUN-06", "RUN-07")
@pytest.mark.parametrize(("short", "long", "name"), SWITCHES)
def test_a_switch_can_be_thrown_by_option_and_by_file(short, long, name, write):
    for option in (short, long):
        assert getattr(read(option), name) is True
    for text, value in (("True", True), ("yes", True), ("False", False)):
        assert getattr(read(files=(write(f"{name} = {text}"),)), name) is value


@pytest.mark.statement("RUN-04")
def test_host_and_port_come_from_the_option_before_the_file(write):
    path = write("host = 192.168.1.2", "port = 9001")
    assert (read().host, read().port) == ("127.0.0.1", 8000)
    server = read(files=(path,))
    assert (server.host, server.port) == ("192.168.1.2", 9001)
    server = read("--host=192.168.1.3", "--port=9002", files=(path,))
    assert (server.host, server.port) == ("192.168.1.3", 9002)


@pytest.mark.statement("PORT-06", "PORT-07")
def test_the_usual_ports_of_consoles_and_wires():
    server = read()
    assert (server.console_start_port_range, server.console_end_port_range) == (2000, 5000)
    assert (server.udp_start_port_range, server.udp_end_port_range) == (10000, 20000)


@pytest.mark.parametrize("name", ["certfile", "certkey", "record", "log"])
def test_files_are_named_by_option_and_by_file(name, write):
    path = write(f"{name} = ~/a file")
    assert getattr(read(files=(path,)), name) == "~/a file"
    assert getattr(read(f"--{name}=b", files=(path,)), name) == "b"


@pytest.mark.statement("CFG-04", "CFG-05", "RUN-07")
def test_an_option_wins_over_file_and_environment_and_is_written_nowhere(write):
    path = write("local = false", "port = 1")
    before = path.read_text()
    environ = {"GNS3_SERVER_LOCAL": "false", "GNS3_SERVER_PORT": "2"}
    server = read("--local", "--port=3", files=(path,), environ=environ)
    assert (server.local, server.port) == (True, 3)
    # A switch means what its word in a file means.
    assert server == read("--port=3", files=(write("local = true"),))
    path.write_text(before)
    assert read("--local", files=(path,)).local is True
    assert path.read_text() == before


@pytest.mark.parametrize(
    "options",
    [("--daem",), ("--ho=1",), ("--live",), ("--shell",), ("--port",), ("sing",)],
)
@pytest.mark.statement("RUN-01")
def test_what_is_no_option_ends_it_with_its_usage(options, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(options, list)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: gns3server ")


def test_the_help_fits_the_screen_and_says_what_one_looks_for(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = make_parser().format_help()
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        *(__version__, "gns3server demo", "http://127.0.0.1:8000/", "GNS3_SERVER_PORT=8080"),
        *("~/.config/GNS3/gns3_server.conf", "exit codes:", "what to do next:", "[Server]"),
    ):
        assert words in text


# A file that another program has written ------------------------------------------------

OLD_FILE = """\
[Server]
host = 192.168.1.2
PORT = 3080
ssl = False
certfile =
certkey =
local = True
allow_remote_console = False
auth = True
user = me
password = %s:pass#word;
projects_path = ~/GNS3/projects
project_directory = /srv/labs
images_path = ~/GNS3/images
console_start_port_range = 2001
console_end_port_range = 7000
udp_start_port_range = 10001
udp_end_port_range = 20001
record =
monitor_host = 127.0.0.1
ubridge_path = /usr/bin/ubridge
report_errors = True
debug = False
quiet = True
live = True
shell = True

[VPCS]
vpcs_path = /usr/bin/vpcs

[Qemu]
enable_kvm = True
monitor = maybe

[Dynamips]
dynamips_path = /usr/bin/dynamips
allocate_aux_console_ports = False

[IOU]
iourc_path =
license_check = True

[VirtualBox]
vboxmanage_path = /usr/bin/vboxmanage
vbox_user =

[VMware]
host_type = ws
vmnet_start_range = 2
"""


@pytest.mark.statement("CFG-03")
def test_every_key_of_an_old_file_is_read_or_ignored(tmp_path):
    path = tmp_path / "gns3_server.conf"
    path.write_text(OLD_FILE)
    settings = load({"HOME": "/home/me"}, {}, (path,))
    server = settings.server
    assert (server.host, server.port) == ("192.168.1.2", 3080)
    assert (server.local, server.quiet) == (True, True)
    assert (server.auth, server.user, server.password) == (True, "me", "%s:pass#word;")
    assert str(settings.projects_path) == "/srv/labs"
    assert str(settings.images_path) == "/home/me/GNS3/images"
    assert (server.console_start_port_range, server.udp_end_port_range) == (2001, 20001)
    assert settings.section("VPCS") == {"vpcs_path": "/usr/bin/vpcs"}
