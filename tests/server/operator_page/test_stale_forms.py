"""A form changes a channel as it was when it was shown: not twice by two clicks, and not what somebody else made."""

from __future__ import annotations

import pytest

from support.page_client import CHANNEL, FormReader, visit
from support.servers import PRODUCT, Running, StartServer, operator, publish_two

API = f"/v1/products/{PRODUCT}/channels/stable"
WAVES = [{"percent": 10}, {"percent": 50}, {"percent": 100}]


@pytest.fixture(scope="module")
def two(shared_server: StartServer) -> Running:
    """Return a server with two releases, 1.0 and 1.1, that no device has asked."""
    return publish_two(shared_server())


@pytest.mark.parametrize("change", ["percent", "rollback", "promote?version=1.0", "rollout/approve"])
def test_a_form_changes_what_it_showed_and_nothing_else(two: Running, change: str) -> None:
    client, api, path = visit(two), operator(two), f"{CHANNEL}/{change}"
    for version in ("1.0", "1.1"):
        api.post(f"{API}/promote", {"version": version})
    api.post(f"{API}/promote", {"version": "1.1", "waves": WAVES})
    fields = {**client.see(path).fields, **({"now": "yes"} if "approve" in change else {})}
    replies = [client.ask("POST", path.partition("?")[0], fields) for _ in range(2)]
    assert [reply.status for reply in replies] == [303, 409]
    assert b"changed meanwhile" in replies[1].body
    assert FormReader(replies[1].body.decode()).fields["generation"] != fields["generation"], "it can be sent again"


@pytest.mark.parametrize("generation", ["", "-1", "x", "9" * 400])
def test_a_state_that_never_was_is_none(two: Running, generation: str) -> None:
    client = visit(two)
    fields = {**client.see(f"{CHANNEL}/percent").fields, "generation": generation}
    assert client.ask("POST", f"{CHANNEL}/percent", fields).status == 409
