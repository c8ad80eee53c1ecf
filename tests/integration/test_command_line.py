"""The program itself: what it prints, which signals end it, with which exit code."""

import logging
import os
import shlex
import signal
import socket

import pytest

from gns3server import __version__
from gns3server.__main__ import main
from gns3server.http.client import Client
from gns3server.testing import processes_of

pytestmark = pytest.mark.heavy


async def finish(process) -> tuple[int, str, str]:
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_it_says_what_it_is_and_serves(running, tmp_path):
    async with running("--local") as (_, url, printed), Client(url) as client:
        assert (await client.get("/v1/version")).json == {"version": __version__, "local": True}
        assert f"gns3server {__version__} listens on http://127.0.0.1:" in printed
        assert f"projects are kept in {tmp_path / 'projects'}" in printed
        assert "can run programs on this machine" not in printed


@pytest.mark.statement("SRV-03")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
async def test_signals_end_it_with_its_nodes_and_temporary_projects(
    running, install_plugins, environ, name, tmp_path
):
    toys = {"PYTHONPATH": install_plugins(tmp_path / "site", toy="toy_emulator")}
    async with running("--local", **toys) as (process, url, _), Client(url) as client:
        bodies = [{"name": "gone", "temporary": True}, {"name": "kept"}]
        made = [(await client.post("/v1/projects", body)).json["project_id"] for body in bodies]
        vms = f"/v1/projects/{made[1]}/toy/vms"
        toy = (await client.post(vms, {"name": "toy"})).json["vm_id"]
        assert (await client.post(f"{vms}/{toy}/start")).status == 204
        assert len(processes_of(environ["GNS3_TEST_ID"])) == 2
        async with client.listen() as events:
            assert await anext(events) == {"action": "ping"}
            process.send_signal(getattr(signal, name))
            assert [event["action"] async for event in events] == ["vm.stopped"]
        code, out, err = await finish(process)
        assert (code, err) == (0, "")
        assert out.index(f" {name} received: ") < out.index(" stopping all nodes\n")
        assert out.endswith(" stopped\n")
        assert processes_of(environ["GNS3_TEST_ID"]) == {}
        assert os.listdir(tmp_path / "projects") == made[1:]
        with pytest.raises(OSError, match="Connect"):
            await client.get("/v1/version")


async def test_a_killed_server_opens_its_projects_again(running, tmp_path):
    async with running("--local") as (process, url, _), Client(url) as client:
        made = (await client.post("/v1/projects", {"name": "lab"})).json
        process.kill()
        await process.wait()
    async with running("--local") as (_, url, _), Client(url) as client:
        assert (await client.get("/v1/projects")).json == [made]


async def test_a_port_that_is_taken_ends_it_with_an_error(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, out, err = await finish(await run("--port", str(taken.getsockname()[1])))
    assert code == 1
    assert "cannot listen on 127.0.0.1, port " in out
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("args", "more", "wanted"),
    [
        (("--ssl",), {}, "needs a certificate, and none is given: --certfile FILE --certkey FILE"),
        (("--ssl", "--certfile", "no.pem"), {}, "the certificate no.pem: No such file"),
        (("--host", "nobody.invalid"), {}, "this name is not known"),
        (("--host", "192.0.2.1"), {}, "Give an address that this machine has: --host 127.0.0.1"),
        (("--state-path", "/dev/null/x"), {}, "for them: --state-path DIRECTORY"),
    ],
)
async def test_what_keeps_it_from_serving_is_said_with_what_to_type(run, args, more, wanted):
    code, out, err = await finish(await run(*args, **more))
    assert (code, err) == (1, "")
    assert wanted in out
    for internal in ("Traceback", "[Errno", "Error(", "''"):
        assert internal not in out


@pytest.mark.parametrize("name", ["projects_path", "images_path"])
async def test_a_directory_that_cannot_be_used_is_said_at_the_start(running, name):
    # It is warned of before what the fixture waits for.
    async with running(**{f"GNS3_SERVER_{name.upper()}": "/dev/null/x"}) as (_, _, printed):
        assert f"{name} is /dev/null/x, which cannot be used: Not a directory" in printed


async def test_without_its_list_of_projects_it_ends_with_an_error_and_nothing_is_lost(
    running, run, tmp_path
):
    async with running("--local") as (process, url, _), Client(url) as client:
        made = (await client.post("/v1/projects", {"name": "lab"})).json
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    records = tmp_path / "state" / "server.db"
    records.write_bytes(b"noise " * 2000)
    code, out, err = await finish(await run())
    assert (code, err) == (1, "")
    assert f"{records} cannot be used: file is not a database. Put a sound copy" in out
    assert "No project is lost" in out
    assert records.read_bytes() == b"noise " * 2000
    # What the message says to do.
    records.rename(tmp_path / "away.db")
    async with running("--local") as (_, url, _), Client(url) as client:
        assert (await client.get("/v1/projects")).json == []
        body = {"project_id": made["project_id"], "path": made["path"]}
        assert (await client.post("/v1/projects", body)).json == made


@pytest.mark.parametrize(
    ("args", "more", "wanted"),
    [
        (("--port", "70000"), {}, "port must be 0 to 65535"),
        ((), {"GNS3_SERVER_PORT": "many"}, "environment variable GNS3_SERVER_PORT"),
        (("--port", "many"), {}, "command line: the setting port must be a whole number"),
        (("--nonsense",), {}, "unrecognized arguments"),
        (("--prot", "8080"), {}, "unrecognized arguments: --prot: did you mean --port?"),
        (("-p", "8080"), {}, "unrecognized arguments: -p; --help lists all options"),
        (("--local=no",), {}, "--local takes no value: leave out =no"),
        (("--port", "-5"), {}, "port must be 0 to 65535, not -5"),
        (("setings",), {}, "there is no command 'setings': did you mean settings?"),
        (("demo", "--port", "8080"), {}, "--port does not go with demo"),
        (("demo", "--debug"), {}, "--debug does not go with demo"),
        (("doctor", "--daemon"), {}, "--daemon goes with serve"),
        (("plugins", "--pid", "x"), {}, "--pid goes with serve"),
        ((), {"GNS3_SERVER_LOG": "~nobody-at-all/x"}, "there is no user 'nobody-at-all'"),
        (("--live",), {}, "usage: gns3server"),
    ],
)
async def test_wrong_settings_end_it_before_it_begins(run, args, more, wanted):
    code, out, err = await finish(await run(*args, **more))
    assert (code, out) == (2, "")
    assert wanted in err
    assert "Traceback" not in err


@pytest.mark.statement("RUN-02")
@pytest.mark.parametrize(
    ("option", "more"), [("--log", ()), ("--log", ("--daemon",)), ("--pid", ()), ("--record", ())]
)
async def test_a_file_that_cannot_be_written_is_said_with_its_option(run, tmp_path, option, more):
    code, out, err = await finish(await run(option, str(tmp_path), *more))
    assert code == 1
    assert str(tmp_path) in out + err
    assert f"Choose another file for {option}" in out + err


async def test_version_and_help(run):
    for option in ("-v", "--version"):
        assert await finish(await run(option)) == (0, f"{__version__}\n", "")
    for option in ("-h", "--help"):
        code, out, err = await finish(await run(option))
        assert (code, err) == (0, "")
        for word in (__version__, "--host", "--port", "--local", "demo"):
            assert word in out


@pytest.mark.statement("RUN-08")
@pytest.mark.parametrize(("printing", "shown"), [("", str), ("ascii", lambda n: ascii(n)[1:-1])])
async def test_the_locale_does_not_decide_which_names_there_may_be(
    running, tmp_path, printing, shown
):
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    old |= {"PYTHONIOENCODING": printing}
    path = tmp_path / "\u540d\u524d-\u00e4"
    # Names are also printed: the log takes every character.
    async with (
        running("--local", "--debug", **old) as (process, url, _),
        Client(url) as client,
    ):
        answer = await client.post("/v1/projects", {"name": path.name, "path": str(path)})
        assert (answer.status, answer.json["path"]) == (201, str(path))
        assert path.is_dir()
        process.terminate()
        code, out, err = await finish(process)
        assert (code, err) == (0, "")
        assert shown(path.name) in out


async def test_plugins_are_listed_and_their_failures_are_no_log(run, install_plugins, tmp_path):
    site = {"PYTHONPATH": install_plugins(tmp_path / "site", absent="no_such_module")}
    code, out, err = await finish(await run("plugins", **site))
    assert (code, err) == (1, "")
    assert "absent 1 (gns3server-toy): failed" in out
    code, out, err = await finish(
        await run("plugins", **site, GNS3_SERVER_DISABLED_PLUGINS="absent")
    )
    assert (code, err) == (0, "")
    assert "absent 1 (gns3server-toy): disabled" in out


SETTABLE = """
from marshmallow import Schema, fields

from gns3server.plugin import PathText, hookimpl


class Section(Schema):
    path = PathText(load_default="", metadata={"help": "where", "flag": "--able-path"})
    token = fields.String(load_default="", load_only=True)
    fast = fields.Boolean(load_default=False, metadata={"help": "100%", "flag": "--able-fast"})


@hookimpl
def gns3_config_schema():
    return Section
"""


async def test_settings_are_shown_with_where_they_come_from(run, install_plugins, tmp_path):
    (tmp_path / "able.py").write_text(SETTABLE)
    path = f"{tmp_path}:{install_plugins(tmp_path / 'site', able='able', absent='no_such_module')}"
    file = tmp_path / "gns3_server.conf"
    file.write_text("[Server]\npassword = hush\nprot = 1\n[Able]\ntoken = hush\n")
    options = ("--able-path", "~/x", "--able-fast", "--local")
    more = {"PYTHONPATH": path, "GNS3_SERVER_MAX_NODES": "5", "GNS3_SERVER_HOST": ""}
    code, out, err = await finish(await run("settings", *options, **more))
    # One plugin has failed.
    assert (code, err) == (1, "")
    shown = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        *("host = 127.0.0.1 default", "max_nodes = 5 environment variable GNS3_SERVER_MAX_NODES"),
        *("local = yes command line", "password = (set, and not shown) gns3_server.conf"),
        *("[able]", f"path = {tmp_path}/x command line", "fast = yes command line"),
        "token = (set, and not shown) gns3_server.conf",
    ):
        assert line in shown
    assert "prot (did you mean port?)" in out
    assert "plugin absent: import: " in out
    assert "hush" not in out


async def test_options_of_plugins_are_in_the_help_and_are_named(run, install_plugins, tmp_path):
    (tmp_path / "able.py").write_text(SETTABLE)
    path = f"{tmp_path}:{install_plugins(tmp_path / 'site', able='able')}"
    # What is wrong with the settings keeps nobody from the help.
    code, out, _ = await finish(await run("--help", PYTHONPATH=path, GNS3_SERVER_PORT="x"))
    assert code == 0
    assert "settings of the plugin able" in out
    assert "--able-fast" in out
    code, _, err = await finish(await run("--able-pth=x", PYTHONPATH=path))
    assert code == 2
    assert "did you mean --able-path?" in err


def test_listing_plugins_leaves_logging_as_it_was(environ, monkeypatch, tmp_path):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert main(["plugins"]) == 0
    assert logging.root.manager.disable == 0


async def test_the_file_in_the_directory_is_read_and_named(running, tmp_path):
    (tmp_path / "gns3_server.conf").write_text("[Server]\nlocal = yes\nannounced_version = 1.4\n")
    async with running() as (_, url, printed), Client(url) as client:
        assert (await client.get("/v1/version")).json == {"version": "1.4", "local": True}
        assert "settings were read from gns3_server.conf" in printed


async def test_listening_everywhere_is_said_loudly(running):
    async with running("--host", "0.0.0.0") as (_, _, printed):
        assert "can run programs on this machine" in printed


@pytest.mark.statement("RUN-09")
@pytest.mark.parametrize("how", [("--log", "server.log"), ("--quiet",), ("-q", "--debug")])
async def test_the_log_goes_where_it_is_told(run, tmp_path, how):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await run(*how, "--port", str(taken.getsockname()[1]))
        assert await finish(process) == (1, "", "")
    logs = [path.read_text() for path in tmp_path.glob("server.log")]
    assert ["cannot run" in log for log in logs] == ([True] if "--log" in how else [])


async def test_nothing_is_left_running(running, environ):
    async with running("--local") as (process, _, _):
        assert list(processes_of(environ["GNS3_TEST_ID"])) == [process.pid]
        process.terminate()
        await process.wait()
        assert processes_of(environ["GNS3_TEST_ID"]) == {}


# The desktop client's way -------------------------------------------------------------


@pytest.mark.statement("SRV-02")
async def test_a_client_starts_it_and_shuts_it_down(running, run, tmp_path):
    async with running("--local") as (process, url, _), Client(url) as client:
        bodies = [{"name": "gone", "temporary": True}, {"name": "kept"}]
        made = [(await client.post("/v1/projects", body)).json["project_id"] for body in bodies]
        answer = await client.post("/v1/server/shutdown")
        assert (answer.status, answer.body) == (201, b"")
        code, _, err = await finish(process)
        assert (code, err) == (0, "")
    assert os.listdir(tmp_path / "projects") == made[1:]
    async with running("--local") as (_, url, _), Client(url) as client:
        assert (await client.get("/v1/projects")).json == []


@pytest.mark.statement("SRV-04")
async def test_temporary_leftovers_are_removed_at_the_start(running, tmp_path):
    for name, marks in (("old", [".gns3_temporary"]), ("kept", [])):
        folder = tmp_path / "projects" / name
        (folder / "project-files").mkdir(parents=True)
        for mark in marks:
            (folder / mark).write_text("1")
    async with running():
        assert os.listdir(tmp_path / "projects") == ["kept"]


@pytest.mark.statement("CFG-06", "CFG-08")
async def test_the_command_line_still_wins_after_a_reload(running, tmp_path, until):
    file = tmp_path / "gns3_server.conf"
    file.write_text("[Server]\nlocal = no\nannounced_version = 1.4\n")
    async with running("--local") as (_, url, _), Client(url) as client:
        assert (await client.get("/v1/version")).json == {"version": "1.4", "local": True}
        file.write_text("[Server]\nlocal = no\nannounced_version = 1.4.1\n")

        async def changed() -> bool:
            return bool((await client.get("/v1/version")).json["version"] != "1.4")

        await until(changed)
        assert (await client.get("/v1/version")).json == {"version": "1.4.1", "local": True}


async def test_requests_are_recorded_as_they_could_be_sent_again(running, tmp_path):
    record = tmp_path / "record"
    async with running("--record", str(record)) as (_, url, _), Client(url) as client:
        await client.post("/v1/projects", {"name": "it's $HOME"})
        await client.post("/v1/projects", {"name": 5})
        await client.get("/v1/version")
    lines = [shlex.split(line) for line in record.read_text().splitlines()]
    assert lines == [
        ["curl", "-X", "POST", f"{url}/v1/projects", "-d", '{"name":"it\'s $HOME"}'],
        ["curl", "-X", "GET", f"{url}/v1/version"],
    ]


@pytest.mark.statement("RUN-10")
async def test_it_goes_into_the_background_with_a_pid_file(run, environ, tmp_path, until):
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    # Desktop clients give a profile as well to servers that they start.
    options = ("--profile", "mine", "--pid", str(pid_file), f"--log={log}")
    process = await run("--daemon", *options)
    assert await finish(process) == (0, "", "")

    async def listens() -> bool:
        return log.exists() and "listens on" in log.read_text()

    async def has_ended() -> bool:
        return not pid_file.exists() and processes_of(environ["GNS3_TEST_ID"]) == {}

    await until(listens)
    pid = int(pid_file.read_text())
    assert os.getsid(pid) not in (os.getsid(0), pid)
    assert log.stat().st_mode & 0o077 == 0
    second = await run("--pid", str(pid_file), GNS3_SERVER_STATE_PATH=str(tmp_path / "other"))
    code, out, _ = await finish(second)
    assert code == 1
    assert f"process {pid} is a running server" in out
    os.kill(pid, signal.SIGTERM)
    await until(has_ended)


async def test_a_pid_file_that_names_nobody_is_taken_over(running, tmp_path):
    pid_file = tmp_path / "pid"
    for left in ("", "x", "-1", "0", "4194305"):
        pid_file.write_text(left)
        async with running("--pid", str(pid_file)) as (process, _, _):
            assert pid_file.read_text() == f"{process.pid}\n"
            process.terminate()
            await process.wait()
        assert not pid_file.exists()


async def test_passwords_on_a_network_are_warned_of(running):
    login = {"GNS3_SERVER_AUTH": "yes", "GNS3_SERVER_USER": "me", "GNS3_SERVER_PASSWORD": "it"}
    async with running("--host", "0.0.0.0", **login) as (_, _, printed):
        assert "can read the password" in printed
        assert "anybody who reaches" not in printed
    async with running(GNS3_SERVER_AUTH="yes") as (_, _, printed):
        assert "user is empty" in printed
