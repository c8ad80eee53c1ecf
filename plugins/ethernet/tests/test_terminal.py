"""Commands at the program's terminal."""

from __future__ import annotations

import os
import pty

import pytest
from ethernet_program import EVERYBODY, frame, mac


class Terminal:
    """The user's side of a terminal."""

    def __init__(self):
        self.descriptor, self.program_side = pty.openpty()
        self.text = ""

    def wait_for(self, prompt):
        """Everything up to a prompt."""
        while not self.text.endswith(prompt):
            self.text += os.read(self.descriptor, 65536).decode()
        text, self.text = self.text, ""
        return text

    def type(self, command, prompt="SW> "):
        """Enter a command; returns the lines of the answer."""
        os.write(self.descriptor, command.encode() + b"\r")
        echo, *lines, _ = self.wait_for(prompt).split("\r\n")
        assert echo == command
        return lines


@pytest.fixture
def terminal():
    """A terminal for the program."""
    terminal = Terminal()
    yield terminal
    os.close(terminal.program_side)
    if terminal.descriptor >= 0:
        os.close(terminal.descriptor)


@pytest.fixture
def switch(run, terminal):
    """A switch at that terminal, which has shown its prompt."""
    ports = [{"vlan": 10}, {"vlan": 20}, {"type": "dot1q"}]
    switch = run(ports=ports, stdin=terminal.program_side)
    assert terminal.wait_for("SW> ") == "SW> "
    return switch


def test_addresses_are_shown_and_forgotten(switch, terminal):
    for host in switch.hosts:
        host.send(frame(EVERYBODY, host.mac))
    switch.settle()
    heads, *rows = [line.split() for line in terminal.type("show mac")]
    assert heads == ["VLAN", "Address", "Port", "Age"]
    assert [row[:3] for row in rows] == [
        ["1", "02:00:00:00:00:02", "e2"],
        ["10", "02:00:00:00:00:00", "e0"],
        ["20", "02:00:00:00:00:01", "e1"],
    ]
    assert terminal.type("clear mac") == ["All addresses are forgotten."]
    assert len(terminal.type("show mac")) == 1


def test_vlans_and_ports_are_shown(switch, terminal):
    assert terminal.type("show vlan") == [
        "VLAN  Ports",
        "10    e0",
        "20    e1",
        "e2 (dot1q) has all VLANs, 1 without a tag.",
    ]
    switch.hosts[0].send(frame(EVERYBODY, mac(0)))
    switch.settle()
    heads, first, *_ = [line.split() for line in terminal.type("show ports")]
    assert heads == ["Port", "Name", "Type", "VLAN", "Wired", "Received", "Sent", "Dropped"]
    assert first == ["0", "e0", "access", "10", "yes", "1", "0", "0"]


def test_help_names_all_commands_and_words_may_be_cut(switch, terminal):
    lines = terminal.type("help")
    assert [line[:12].strip() for line in lines] == [
        "show mac",
        "show vlan",
        "clear mac",
        "show ports",
        "help",
    ]
    assert terminal.type("SH M") == terminal.type("show mac")
    assert terminal.type("") == []
    assert terminal.type("fly away") == ["'fly away' is not a command: 'help' lists them."]


def test_another_name_is_in_the_next_prompt(switch, terminal):
    switch.configure(name="Core\x1b[2J")
    assert terminal.type("", prompt="Core?[2J> ") == []


def test_many_commands_at_once_are_answered_as_fast_as_they_are_read(switch, terminal):
    many = 20
    host = switch.hosts[0]
    for number in range(8192):
        host.send(frame(EVERYBODY, mac(1000 + number)))
        if number % 100 == 0:
            switch.settle()
    switch.settle()
    assert len(switch.addresses()) > 8000
    # Far more than a program keeps for somebody who does not read.
    os.write(terminal.descriptor, b"show mac\r" * many + b"help\r")
    switch.hosts[1].send(frame(EVERYBODY, mac(1)))
    switch.settle()
    text = terminal.wait_for("these commands\r\nSW> ")
    assert text.count("VLAN  Address") == many


@pytest.mark.parametrize("key", ["\x03", "\x1a", "\x1c", "\x04"])
def test_no_key_ends_the_switch(switch, terminal, key):
    os.write(terminal.descriptor, key.encode())
    switch.hosts[0].send(frame(EVERYBODY, mac(0)))
    switch.settle()
    assert switch.process.poll() is None
    # Nor its console: whatever the key has shown, the next line is answered.
    os.write(terminal.descriptor, b"\rhelp\r")
    assert "these commands" in terminal.wait_for("commands\r\nSW> ")


def test_a_terminal_that_goes_away_ends_no_switch(switch, terminal):
    os.close(terminal.descriptor)
    terminal.descriptor = -1
    for _ in range(3):
        switch.hosts[0].send(frame(EVERYBODY, mac(0)))
        switch.settle()
    assert switch.received()[2] == [frame(EVERYBODY, mac(0), bytes.fromhex("8100000a"))] * 3


def test_a_user_who_does_not_read_holds_nothing_up(switch, terminal):
    for _ in range(200):
        os.write(terminal.descriptor, b"help\rshow ports\rshow vlan\r")
        # The terminal takes no more than 4096 bytes of what was not read.
        switch.hosts[0].send(frame(EVERYBODY, mac(0)))
        switch.settle()
    assert switch.counters(0)["received_frames"] == 200


def test_a_hub_has_its_ports_only(run, terminal):
    run("hub", stdin=terminal.program_side)
    terminal.wait_for("SW> ")
    assert [line[:12].strip() for line in terminal.type("help")] == ["show ports", "help"]


def test_a_switch_whose_terminal_has_gone_away_still_limits_floods(run, terminal):
    switch = run(ports=[{}, {}], stdin=terminal.program_side, flood_limit=1)
    switch.call("listen")
    os.close(terminal.descriptor)
    terminal.descriptor = -1
    host = switch.hosts[0]
    host.send(*[frame(EVERYBODY, mac(0))] * 10)
    assert switch.line()["event"] == "flood_limited"
    assert switch.process.poll() is None
