"""Which of two routes gets a request, as the plugin host sees it and as aiohttp does."""

from __future__ import annotations

from itertools import permutations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gns3server.http.routing import Route
from gns3server.plugin_host.paths import Claim

PROJECT = "0b5d1e5c-5f0f-4b8e-8a44-2f6a3d9c7e10"

PATHS = [
    "/v1/a",
    "/v1/a/b",
    "/v1/a/b/c",
    "/v1/{x}",
    "/v1/a/{x}",
    "/v1/{x}/b",
    "/v1/{x}/{y}",
    r"/v1/a/{x:\d+}",
    "/v1/a/{x:b|c}",
    "/v1/a/{x}.txt",
    "/v1/a/{x:.*}",
    "/v1/{x:.+}",
    "/v1/{x:.+}/c",
    "/v1/a/{x}/{y:.*}",
    "/v1/projects/{project_id}",
    "/v1/projects/{project_id}/{x:.*}",
    "/v1/projects/{project_id}/toy/vms",
    "/v1/projects/{project_id}/toy/vms/{vm_id}",
    "/v1/projects/{x:[0-9a-f-]+}",
    "/v1/projects/summary",
]


async def handle(_call):
    """Nothing: these routes are only looked for."""


def claim(path, place=0):
    return Claim(Route(method="GET", path=path, handler=handle, summary=""), place)


async def asked(path, *patterns):
    """The pattern whose route aiohttp finds for a path, if there is one."""
    router = web.UrlDispatcher()
    for pattern in patterns:
        router.add_resource(pattern).add_route("GET", handle)
    found = await router.resolve(make_mocked_request("GET", path))
    if found.http_exception is not None:
        return None
    resource = found.route.resource
    assert resource is not None
    return next(pattern for pattern in patterns if resource.raw_match(pattern))


@pytest.mark.parametrize("pattern", PATHS)
async def test_what_is_said_of_two_routes_is_what_aiohttp_does(pattern):
    for other in PATHS:
        if other == pattern:
            continue
        first, second = claim(pattern, 0), claim(other, 1)
        if second.precedes(first):
            first, second = second, first
        path = first.takes_from(second)
        if path is not None:
            # Both match it, and the first of them gets it.
            assert await asked(path, second.route.path) == second.route.path
            assert await asked(path, pattern, other) == first.route.path
        if first.hides(second):
            assert path is not None


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ("/v1/{x:.+}", "/v1/projects/{project_id}/toy/vms", f"/v1/projects/{PROJECT}/toy/vms"),
        ("/v1/projects/{x:[0-9a-f-]+}", "/v1/projects/{project_id}", f"/v1/projects/{PROJECT}"),
        ("/v1/a/{x:b|c}", "/v1/a/{x}.txt", None),
        ("/v1/a/{x:b|c.txt}", "/v1/a/{x}.txt", "/v1/a/c.txt"),
        # No id is called so: nothing is taken from whoever is looked up by it.
        ("/v1/projects/summary", "/v1/projects/{project_id}", None),
        ("/v1/a/b", "/v1/a/b/c", None),
        ("/v1/a/{x}", "/v1/a/b/c", None),
    ],
)
def test_a_path_that_both_would_answer_to_is_found(first, second, path):
    assert claim(first).takes_from(claim(second, 1)) == path


@pytest.mark.parametrize(
    ("wide", "narrow", "hidden"),
    [
        ("/v1/{x:.+}", "/v1/projects/{project_id}/toy/vms", True),
        ("/v1/projects/{x:[0-9a-f-]+}", "/v1/projects/{project_id}", True),
        ("/v1/a/{x}", r"/v1/a/{x:\d+}", True),
        (r"/v1/a/{x:\d+}", "/v1/a/{x}", False),
        ("/v1/a/{x}", "/v1/a/{x:.*}", False),
        ("/v1/a/{x:b|c}", "/v1/a/{x}", False),
    ],
)
def test_a_route_is_hidden_when_another_matches_all_that_it_is_for(wide, narrow, hidden):
    assert claim(wide).hides(claim(narrow, 1)) is hidden


def test_routes_with_other_methods_do_not_meet():
    post = Claim(Route(method="POST", path="/v1/{x:.+}", handler=handle, summary=""), 0)
    for one, other in permutations((post, claim("/v1/a"))):
        assert (one.takes_from(other), one.hides(other)) == (None, False)
