"""Where the control group of a node is, on machines that are laid out otherwise than this one."""

from __future__ import annotations

import sys

import pytest
from gns3server_linux.holder import group

NAME = "gns3server-1"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of control groups of version 2, whose server is in one that was delegated."""
    (tmp_path / "app.slice" / "server.scope").mkdir(parents=True)
    (tmp_path / "app.slice" / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "app.slice" / "server.scope" / "cgroup.subtree_control").write_text("")
    (tmp_path / "membership").write_text("0::/app.slice/server.scope\n")
    monkeypatch.setattr(group, "ROOT", tmp_path)
    monkeypatch.setattr(group, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def test_a_group_of_version_2_is_beside_the_servers_own(machine):
    made = group.make(NAME, 1024)
    assert made == machine / "app.slice" / NAME
    assert made.is_dir()


def test_what_helps_is_said_where_no_group_limits_memory(machine):
    (machine / "app.slice" / "cgroup.subtree_control").write_text("cpu pids\n")
    with pytest.raises(OSError, match="systemd-run --user --scope"):
        group.make(NAME, 1024)


def test_what_helps_is_said_where_no_group_can_be_made(machine):
    (machine / "app.slice" / NAME).touch()
    with pytest.raises(OSError, match=f"{NAME} cannot be made: .*'systemd-run --user --scope'"):
        group.make(NAME, 1024)


def test_the_group_that_a_server_of_another_group_has_made_is_removed(machine, monkeypatch):
    made = group.make(NAME, 1024)
    (machine / "membership").write_text("0::/system.slice/server.service\n")
    monkeypatch.setattr(sys, "argv", ["group", NAME])
    group.main()
    assert not made.exists()
    group.main()
