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
from gns3server.settings.unknown import unknown_names


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
    assert config_files({"HOME": "/h", "XDG_CONFIG_HOME": "x"}) == home


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
        ({}, {**HOME, "XDG_STATE_HOME": "s"}, "state_path", "/h/.local/state/gns3server"),
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


# Paths that lead nowhere ------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({**HOME, "GNS3_SERVER_LOG": "~nobody-at-all/log"}, "no user 'nobody-at-all'"),
        ({**HOME, "GNS3_SERVER_RECORD": "$NOTHING/x"}, "the variable NOTHING, which is not set"),
        ({"HOME": "here"}, "HOME is 'here', not an absolute path"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(environ, wanted):
    with pytest.raises(SettingsError, match=wanted) as refused:
        load(environ, files=())
    assert "HOME is" in wanted or "environment variable GNS3_SERVER_" in str(refused.value)


def test_an_unknown_user_without_home_is_told_to_set_it(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(SettingsError, match="the user 4000000 is not in the password database"):
        load({})
    assert str(load(HOME, files=()).home) == "/h"


def test_a_relative_path_needs_a_directory_to_start_from(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load({"HOME": str(tmp_path)}).server.port == 8000
    with pytest.raises(SettingsError, match=r"the path 'server\.log' is relative"):
        load({"HOME": str(tmp_path)}, {"log": "server.log"})


@pytest.fixture
def closed_directory(tmp_path, monkeypatch):
    """A directory that may not be searched; the process is in it."""
    path = tmp_path / "closed"
    path.mkdir()
    (path / "gns3_server.conf").write_text("[Server]\nport = 1\n")
    monkeypatch.chdir(path)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield path
    os.seteuid(user)
    path.chmod(0o700)


def test_a_directory_that_may_not_be_searched_has_no_file(closed_directory):
    """A file in a directory that may not be searched is as one that is not there."""
    assert load({"HOME": "/nonexistent"}).server.port == 8000


def test_a_home_that_may_not_be_searched_is_named(closed_directory):
    """For HOME it is one line that names the path."""
    with pytest.raises(SettingsError, match=f"{closed_directory}.*cannot be read: Permission den"):
        load({"HOME": str(closed_directory)})


# How a file may be written ----------------------------------------------------------


def test_a_byte_order_mark_and_line_ends_of_other_systems_do_no_harm(tmp_path):
    path = tmp_path / "a.conf"
    for end in (b"\r\n", b"\r"):
        lines = (b"\xef\xbb\xbf[Server] ; mine", b"auth = yes", b"password = a\xc3\xa4 b", b"")
        path.write_bytes(end.join(lines))
        server = load({}, files=(path,)).server
        assert (server.auth, server.password) == (True, "a\u00e4 b")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"port = 1", "line 1 is in no section. Write .Server. above it"),
        (b"# mine\n\nport = 1", "line 3 is in no section"),
        (b"[Server\nport = 1", "line 1 is not a .section."),
        (b"[Server] auth = yes\nport = 1", "line 1 is not a .section."),
        (b"[VPCS]\nx = 1\n[Server] auth = yes", "line 3 is not a .section."),
        ("[Server]\nport = 1".encode("utf-16"), "byte 1 is not UTF-8. Save it as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content, wanted, tmp_path):
    path = tmp_path / "a.conf"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=wanted):
        load({}, files=(path,))


@pytest.mark.parametrize("before", ["auth = yes", "host = 10.0.0.1", "port = 5"])
def test_an_indented_setting_is_not_swallowed(before, write):
    path = write("a.conf", f"{before}\n  password = secret")
    with pytest.raises(SettingsError, match="must be one line") as refused:
        load({}, files=(path,))
    assert "secret" not in str(refused.value)


def test_an_empty_value_of_what_cannot_be_without_one_is_none(write):
    """An empty host is no value: the server listens on 127.0.0.1, not on every address."""
    path = write("a.conf", "host = 10.0.0.1\nauth = yes\nuser = me\npassword = it\nlog = x")
    names = ("HOST", "AUTH", "USER", "PASSWORD", "PROJECTS_PATH", "LOG")
    server = load({f"GNS3_SERVER_{name}": "" for name in names}, files=(path,)).server
    assert (server.host, server.auth, server.user, server.password) == (
        "10.0.0.1",
        True,
        "me",
        "it",
    )
    assert (server.projects_path, server.log) == ("~/GNS3/projects", "")
    assert load({"GNS3_SERVER_HOST": " "}, files=()).server.host == "127.0.0.1"


# Files that change ------------------------------------------------------------------

LOGIN = "auth = yes\nuser = me\npassword = secret"


@pytest.fixture
def login(write):
    """A file that asks for a password, and the settings that it makes."""
    path = write("a.conf", f"{LOGIN}\nmax_nodes = 7")
    return path, load({}, files=(path,))


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_text("")


def put_a_directory_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_a_pipe_there(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_a_loop_there(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def test_a_file_that_can_be_no_settings_is_not_read_whole(tmp_path):
    path = tmp_path / "gns3_server.conf"
    with path.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(SettingsError, match="more than 1024 KiB"):
        load({}, files=(path,))


@pytest.mark.parametrize(
    "accident", [remove, empty, put_a_directory_there, put_a_pipe_there, put_a_loop_there]
)
def test_what_a_file_has_said_outlives_the_file(accident, login):
    """A file that was a source and is gone, empty or unreadable takes nothing away: still 401."""
    path, before = login
    accident(path)
    for _ in range(2):
        after = load({}, files=(path,), before=before)
        assert (after.server, after.said) == (before.server, before.said)
        (warning,) = after.warnings
        assert str(path) in warning
        assert "still counts" in warning
        before = after


@pytest.mark.parametrize(
    "text", ["", "auth = yes", "user = me\npassword = secret", "auth =\nuser =\npassword ="]
)
def test_a_file_that_is_silent_on_the_password_takes_nothing_away(text, login, write):
    path, before = login
    write("a.conf", f"{text}\nmax_nodes = 8")
    for _ in range(2):
        before = load({}, files=(path,), before=before)
        server = before.server
        assert (server.auth, server.user, server.password) == (True, "me", "secret")
        assert server.max_nodes == 8
        assert "write auth = no" in "".join(before.warnings)
        assert "secret" not in "".join(before.warnings)


def test_who_says_so_gets_rid_of_the_password(login, write):
    path, before = login
    write("a.conf", "auth = no")
    after = load({}, files=(path,), before=before)
    assert (after.server, after.warnings) == (ServerSettings(), ())


def test_a_file_whose_last_line_has_no_end_changes_nothing(login):
    path, before = login
    text = path.read_text()
    path.write_text(text.removesuffix("\n"))
    assert load({}, files=(path,), before=before).server == before.server
    path.write_text(f"[Server]\n{LOGIN}"[:-3])
    with pytest.raises(SettingsError, match="may be half written"):
        load({}, files=(path,), before=before)
    path.write_text(f"[Server]\n{LOGIN}, a new one\n")
    assert load({}, files=(path,), before=before).server.password == "secret, a new one"


def test_a_file_may_come_later(tmp_path, write):
    path = tmp_path / "a.conf"
    before = load({}, files=(path,))
    write("a.conf", "max_nodes = 3")
    assert load({}, files=(path,), before=before).server.max_nodes == 3


# Names that do not exist ------------------------------------------------------------

PLUGINS = {"my": frozenset({"path"}), "my-toy": frozenset({"path"}), "broken": None}


@pytest.mark.parametrize(
    ("text", "section", "wanted"),
    [
        ("prot = 8080", "Server", ["settings that do not exist and do nothing: prot", "port?"]),
        ("port = 1\nubridge_path = x", "server", ["nothing: ubridge_path"]),
        ("pth = x", "my-toy", ["[my-toy]", "pth (did you mean path?)"]),
        ("prot = 1", "Sever", ["there is no section [sever]: did you mean [server]?"]),
        ("enable_kvm = True", "Qemu", []),
        ("anything = 1", "broken", []),
        ("port = 1", "Server", []),
    ],
)
def test_a_name_in_a_file_that_does_not_exist_is_told(text, section, wanted, write):
    found = [*unknown_names(load({}, files=(write("a.conf", text, section),)), PLUGINS)]
    assert len(found) == bool(wanted)
    assert all(word in found[0] for word in wanted)


@pytest.mark.parametrize(
    ("variable", "wanted"),
    [
        ("GNS3_SERVER_PROT", "did you mean GNS3_SERVER_PORT?"),
        ("GNS3_SERVR_PORT", "did you mean GNS3_SERVER_PORT?"),
        ("GNS3_PORT", "did you mean GNS3_SERVER_PORT?"),
        ("GNS3_SERVER_QQQ", "there is no such setting"),
        ("GNS3_MY_TOY_PTH", "did you mean GNS3_MY_TOY_PATH?"),
        ("GNS3_MY_TOY_PATH", ""),
        ("GNS3_BROKEN_X", ""),
        ("GNS3_DYNAMIPS_IMAGES_PATH", ""),
        ("GNS3_TEST_ID", ""),
        ("GNS3_RUN_ID", ""),
        ("GNS3", ""),
    ],
)
def test_a_variable_that_sets_nothing_is_told(variable, wanted):
    found = [*unknown_names(load({variable: "1"}, files=()), PLUGINS)]
    assert len(found) == bool(wanted)
    assert not wanted or (variable in found[0] and wanted in found[0])


@pytest.mark.parametrize(
    ("mode", "directory_mode", "why"),
    [(0o602, 0o700, "every user"), (0o600, 0o707, "every user"), (0o600, 0o1777, "every user")],
)
def test_a_file_in_the_working_directory_that_others_can_change_is_ignored(
    tmp_path, monkeypatch, mode, directory_mode, why
):
    file = tmp_path / "gns3_server.conf"
    file.write_text("[vpcs]\nvpcs_path = /tmp/evil\n")
    file.chmod(mode)
    tmp_path.chmod(directory_mode)
    monkeypatch.chdir(tmp_path)
    settings = load({"HOME": str(tmp_path / "home")}, {})
    assert settings.section("vpcs") == {}
    (warning,) = settings.warnings
    assert f"{file} is ignored: {why}" in warning


def test_a_file_of_another_user_in_the_working_directory_is_ignored(tmp_path, monkeypatch):
    file = tmp_path / "gns3_server.conf"
    file.write_text("[vpcs]\nvpcs_path = /tmp/evil\n")
    file.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    if file.stat().st_uid == 0:
        os.chown(file, 12345, 12345)
    settings = load({"HOME": str(tmp_path / "home")}, {})
    assert settings.section("vpcs") == {}
    assert "it belongs to another user" in settings.warnings[0]


def test_a_file_that_others_can_change_by_now_still_guards_the_server(tmp_path, monkeypatch):
    file = tmp_path / "gns3_server.conf"
    file.write_text("[Server]\nauth = yes\nuser = me\npassword = secret\n")
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path / "home")}
    before = load(environ, {})
    file.write_text("[Server]\nauth = no\n")
    file.chmod(0o606)
    after = load(environ, {}, before=before)
    assert after.server == before.server
    assert after.server.auth
    (warning,) = after.warnings
    assert "is not read any more (every user can change it): what it said still" in warning
