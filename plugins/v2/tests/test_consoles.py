"""Consoles for web pages."""

from __future__ import annotations

import pytest
from gns3server_v2.consoles import Plain
from v2_client import ends_of

NEGOTIATION = b"\xff\xfb\x01\xff\xfd\x03\xff\xfa\x18\x01\xff\xf0"


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_telnet_protocol_is_taken_out_however_it_is_cut(size):
    sent = b"a" + NEGOTIATION + b"b\xff\xffc" + NEGOTIATION + b"d"
    plain = Plain()
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert b"".join(map(plain.of, pieces)) == b"ab\xffcd"


@pytest.mark.statement("V2-28")
async def test_a_web_page_types_at_a_terminal(client, project):
    nodes = [await client.vpcs(project) for _ in range(2)]
    await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
    path = f"{project}/nodes/{nodes[0]['node_id']}"
    url = f"{client.url}/v2{path}/console/ws"
    await client.get(f"{path}/console/ws", expect=426)
    await client.post(f"{path}/start", expect=200)
    async with client.session.ws_connect(url) as console:
        shown = b""
        await console.send_str("show version\r\n")
        while b"Welcome" not in shown or b"Copyright" not in shown:
            shown += (await console.receive()).data
        assert b"\xff" not in shown
