"""Demos that run at the same time share no ports."""

from __future__ import annotations

import uuid
from contextlib import ExitStack

import pytest

from gns3server.cli.demo_ports import DEMOS, claimed_ports
from gns3server.cli.demo_steps import DemoFailed
from gns3server.settings.server import SERVER_SETTINGS


def test_demos_at_the_same_time_have_ports_of_their_own_and_one_too_many_is_refused():
    mark = uuid.uuid4().hex
    with ExitStack() as stack:
        claims = [stack.enter_context(claimed_ports(mark)) for _ in range(DEMOS)]
        for ranges in ([one.consoles for one in claims], [one.udp for one in claims]):
            ports = [port for first, last in ranges for port in range(first, last + 1)]
            assert len(ports) == len({*ports})
        with pytest.raises(DemoFailed, match="8 demos are running"), claimed_ports(mark):
            pass
    with claimed_ports(mark) as again:
        assert again == claims[0]


def test_demos_keep_clear_of_a_server_with_the_default_settings():
    defaults = {setting.name: setting.default for setting in SERVER_SETTINGS}
    with claimed_ports(uuid.uuid4().hex) as ports:
        assert ports.consoles[0] > defaults["console_end_port_range"]
        assert ports.udp[0] > defaults["udp_end_port_range"]
