"""The examples of the API document work: each is sent, as by somebody who tries out all of them."""

from __future__ import annotations

import pytest
from documented_examples import examples, try_out

from gns3server.http.schemas import PROJECT_EXAMPLE

FILE = f"/v1/projects/{PROJECT_EXAMPLE}/files/{{path}}"


@pytest.mark.parametrize("plugins", [{}, {"toy": "toy_emulator"}, {"natures": "toy_natures"}])
async def test_every_example_works(gns3_serving, make_entry_point, plugins):
    points = [make_entry_point(*plugin) for plugin in plugins.items()]
    async with gns3_serving(plugins=points, local=True) as server:
        left_out = await try_out(server)
    # Nothing of these servers has a file in a project, or takes images.
    assert left_out == {("POST", "/upload"), ("GET", FILE), ("GET", "/v1/files/stream")}


async def test_an_example_needs_no_id_to_be_made_up(server, client):
    document = (await client.get("/v1/openapi.json")).json
    sent = [example for example in examples(document) if "/toy/" in example.path]
    assert len(sent) >= 10
    assert not any(example.missing for example in sent)
    (created,) = [
        example.body for example in sent if example.path.endswith("/toy/vms") and example.body
    ]
    assert all(created["vm_id"] in one.path for one in sent if one.path.count("/") > 5)


STRICT = """
import dataclasses

class StrictSchema(NodeCreateSchema):
    size = fields.Integer(required=True)

MINE = dataclasses.replace(MINE, create_schema=StrictSchema)
"""


async def test_what_a_plugin_has_no_example_for_has_none(gns3_serving, faulty_plugin):
    async with gns3_serving(plugins=[faulty_plugin(STRICT)]) as server:
        document = (await server.client.get("/v1/openapi.json")).json
    (created,) = [
        one for one in examples(document) if one.path.endswith("/mine/vms") and one.missing
    ]
    assert (created.method, created.body) == ("POST", None)


WITH_EXAMPLE = STRICT.replace("required=True", "required=True, metadata={'example': 7}")


async def test_an_example_of_a_plugin_s_field_is_part_of_the_request_s(gns3_serving, faulty_plugin):
    async with gns3_serving(plugins=[faulty_plugin(WITH_EXAMPLE)]) as server:
        document = (await server.client.get("/v1/openapi.json")).json
        (created,) = [one for one in examples(document) if one.body and "size" in one.body]
        assert created.body["size"] == 7
