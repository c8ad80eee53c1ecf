"""What a demo shows of the API, and when it gives up."""

from __future__ import annotations

import orjson
import pytest
from multidict import CIMultiDict

from gns3server.cli.demo_steps import DemoFailed, Session
from gns3server.http.client import Answer, Client


@pytest.mark.parametrize(
    ("status", "value"),
    [
        (409, {"message": "R1 cannot be started", "status": 409}),
        (200, {"failed": [{"message": "R1 cannot be started", "node_id": "x"}], "nodes": []}),
    ],
)
async def test_it_ends_with_the_reason_why_something_did_not_start(
    monkeypatch, capsys, status, value
):
    async def post(self, path, body=None):
        return Answer("POST", path, status, CIMultiDict(), orjson.dumps(value))

    monkeypatch.setattr(Client, "post", post)
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(DemoFailed, match="R1 cannot be started"):
            await Session(client).post("/v1/projects/x/start", {})
    assert "$ curl -X POST http://127.0.0.1:1/v1/projects/x/start -d" in capsys.readouterr().out
