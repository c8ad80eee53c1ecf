"""Settings: which source wins, what is refused, and that the refusal says where it stands."""

import dataclasses
import os
import pwd
import socket
from pathlib import Path

import pytest

from gns3server.settings.errors import SettingsError
from gns3server.settings.schema import ConfigView, Settings, host_names, load, split_list
from gns3server.settings.server import ServerSettings
from gns3server.settings.sources import config_files


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file: ``write("a.conf", "port = 1")``."""

    def write(name: str, text: str, section: str = "Server") -> Path:
        path: Path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[{section}]\n{text}\n", encoding="utf-8")
        return path

    return write


# Which source wins ----------------------------------------------------------------

SOURCES = ["default", "system", "user", "here", "environment", "flag"]


@pytest.mark.parametrize("strongest", range(len(SOURCES)))
def test_the_stronger_source_wins(strongest, write):
    given = SOURCES[1 : strongest + 1]
    files = tuple(
        write(f"{name}.conf", f"port = {4000 + SOURCES.index(name)}")
        for name in given
        if name in ("system", "user", "here")
    )
    environ = {"GNS3_SERVER_PORT": "4004"} if "environment" in given else {}
    flags = {"port": 4005} if "flag" in given else {}
    settings = load(environ, flags, files)
    assert settings.server.port == (4000 + strongest if strongest else 8000)
    assert settings.files == files


def test_each_source_keeps_what_stronger_ones_leave_alone(write):
    weak = write("weak.conf", "host = 10.0.0.1\nport = 1\nmax_nodes = 7")
    strong = write("strong.conf", "port = 2\nannounced_version = 1.3")
    settings = load({"GNS3_SERVER_ANNOUNCED_VERSION": "1.4"}, {"local": True}, (weak, strong))
    server = settings.server
    assert (server.host, server.port, server.max_nodes) == ("10.0.0.1", 2, 7)
    assert (server.announced_version, server.local) == ("1.4", True)


def test_the_usual_files_are_found_the_strongest_last(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user = write(".config/GNS3/gns3_server.conf", "port = 1\nhost = 10.0.0.1")
    write("gns3_server.conf", "port = 2")
    settings = load({"HOME": str(tmp_path)})
    assert settings.files[-2:] == (user, Path("gns3_server.conf"))
    assert (settings.server.port, settings.server.host) == (2, "10.0.0.1")


def test_where_the_usual_files_are():
    home, xdg = config_files({"HOME": "/h"}), config_files({"HOME": "/h", "XDG_CONFIG_HOME": "/x"})
    usual = [
        "/etc/xdg/GNS3.conf",
        "/etc/xdg/GNS3/gns3_server.conf",
        "/h/.config/GNS3.conf",
        "/h/.config/GNS3/gns3_server.conf",
    ]
    assert [str(path) for path in home] == [*usual, "gns3_server.conf"]
    more = ["/x/GNS3.conf", "/x/GNS3/gns3_server.conf"]
    assert [str(path) for path in xdg] == [*usual, *more, "gns3_server.conf"]


# Values ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("yes", "TRUE", "1", "on")),
        *((text, False) for text in ("no", "False", "0", "off", "")),
    ],
)
def test_the_words_for_yes_and_no(text, value):
    assert load({"GNS3_SERVER_LOCAL": text}, files=()).server.local is value


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("port = many", "port must be a whole number, not 'many'"),
        ("port = 80.5", "port must be a whole number"),
        ("port = --5", "port must be a whole number"),
        ("port = \u00b2", "port must be a whole number"),
        ("port = " + "9" * 5000, "port must be a whole number"),
        ("port =", "port must be a whole number, not ''"),
        ("local = perhaps", "local must be yes or no, not 'perhaps'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_source(line, wanted, write):
    path = write("a.conf", line)
    with pytest.raises(SettingsError) as refused:
        load({}, files=(path,))
    assert wanted in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "flags", "source"),
    [
        ({"GNS3_SERVER_PORT": "x"}, {}, "environment variable GNS3_SERVER_PORT"),
        ({}, {"port": "x"}, "command line"),
    ],
)
def test_a_refusal_names_sources_that_are_no_files(environ, flags, source):
    with pytest.raises(SettingsError, match=source):
        load(environ, flags, ())


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({"port": 65536}, "port must be 0 to 65535"),
        ({"port": -1}, "port must be 0 to 65535, not -1"),
        ({"console_start_port_range": 0}, "console_start_port_range must be 1 to 65535"),
        ({"udp_end_port_range": 65536}, "udp_end_port_range must be 10000 to 65535"),
        ({"udp_start_port_range": 20001}, "udp_end_port_range must be 20001 to 65535, not 20000"),
        ({"max_starting": 0}, "max_starting must be 1 to"),
        ({"max_projects": 0}, "max_projects"),
        ({"max_nodes": 0}, "max_nodes"),
        ({"max_listeners": 1_000_001}, "max_listeners"),
    ],
)
def test_values_out_of_range_are_refused(flags, wanted):
    with pytest.raises(SettingsError, match=wanted):
        load({}, flags, ())


def test_the_bounds_themselves_are_fine():
    flags = {"port": 0, "udp_start_port_range": 65535, "udp_end_port_range": 65535}
    assert load({}, flags, ()).server.udp_start_port_range == 65535


@pytest.mark.parametrize(
    "content", [b"port = 1", b"[Server\nport = 1", b"[Server]\nport", b"[Server]\nhost = \xff"]
)
def test_a_file_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "broken.conf"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{path} cannot be read"):
        load({}, files=(path,))


def test_unknown_settings_and_percent_signs_do_no_harm(write):
    path = write("a.conf", "auth = True\nfuture = 1\nannounced_version = 100%")
    settings = load({"GNS3_SERVER_NOPE": "1", "GNS3": "x"}, {"nope": 1}, (path,))
    assert settings.server.announced_version == "100%"


# Sections -------------------------------------------------------------------------


@pytest.mark.statement("CFG-03", "CFG-07")
def test_a_section_is_a_mapping_and_an_absent_one_is_empty(write):
    first = write("a.conf", "vpcs_path = /a\nother = 1", "VPCS")
    second = write("b.conf", "vpcs_path = /b", "vpcs")
    settings = load({"GNS3_VPCS_EXTRA": "2"}, files=(first, second))
    assert settings.section("VPCS") == {"vpcs_path": "/b", "other": "1", "extra": "2"}
    assert settings.section("nothing") == {}


def test_the_environment_wins_over_a_section_and_dashes_become_underscores():
    said = {Path("a.conf"): {"my-toy": {"path": "/a"}}}
    settings = Settings(said=said, environ={"GNS3_MY_TOY_PATH": "/b"})
    assert settings.section("my-toy") == {"path": "/b"}


def test_settings_and_sections_cannot_be_changed():
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.section("x")["y"] = "z"  # type: ignore[index]


def test_a_plugins_view_shows_the_newest_values():
    view = ConfigView({"a": 1})
    view.replace({"b": 2, "c": 3})
    assert (dict(view), len(view), view["b"]) == ({"b": 2, "c": 3}, 2, 2)


# Paths ----------------------------------------------------------------------------

HOME = {"HOME": "/h"}
ROOT_HOME = pwd.getpwnam("root").pw_dir


@pytest.mark.parametrize(
    ("server", "environ", "name", "path"),
    [
        ({}, HOME, "projects_path", "/h/GNS3/projects"),
        ({}, HOME, "images_path", "/h/GNS3/images"),
        ({}, HOME, "state_path", "/h/.local/state/gns3server"),
        ({}, {**HOME, "XDG_STATE_HOME": "/s"}, "state_path", "/s/gns3server"),
        ({"state_path": "~/st"}, {**HOME, "XDG_STATE_HOME": "/s"}, "state_path", "/h/st"),
        ({"projects_path": "~"}, HOME, "projects_path", "/h"),
        ({"projects_path": "~root/y"}, HOME, "projects_path", f"{ROOT_HOME}/y"),
        ({"projects_path": "$HOME/y"}, HOME, "projects_path", "/h/y"),
        ({"projects_path": "${LABS}/$5"}, {"LABS": "/l"}, "projects_path", "/l/$5"),
        ({"projects_path": "./~x"}, HOME, "projects_path", f"{Path.cwd()}/~x"),
        ({}, {}, "home", pwd.getpwuid(os.geteuid()).pw_dir),
        ({"projects_path": "here"}, HOME, "projects_path", f"{Path.cwd()}/here"),
        ({"projects_path": "/a", "project_directory": "/b"}, HOME, "projects_path", "/b"),
        ({}, HOME, "home", "/h"),
        ({}, {"PATH": "/bin"}, "search_path", "/bin"),
    ],
)
def test_directories(server, environ, name, path):
    settings = Settings(ServerSettings(**server), environ=environ)
    assert str(getattr(settings, name)) == path


def test_lists_and_names():
    assert split_list(" a, b ,,c ") == ("a", "b", "c")
    assert split_list("") == ()
    names = host_names(Settings(ServerSettings(allowed_hosts="Lab.example, other")))
    assert names == {"localhost", socket.gethostname().lower(), "lab.example", "other"}
