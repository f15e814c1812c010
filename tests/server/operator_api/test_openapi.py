"""The operators' interface and its description: the same table, and nothing asked that it does not name."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import Any

import pytest

from otaseal.client.client import Client
from otaseal.errors import InputError
from otaseal.server.operator_api import openapi
from otaseal.server.operator_api.app import HANDLERS
from support.operator_requests import error
from support.servers import SECONDS, Reply, Running, get, operator, talk


def ask(server: Running, path: str, *lines: str, method: str = "GET", body: bytes = b"") -> Reply:
    head = get(path, f"Authorization: Bearer {server.token}", *lines, method=method)
    return talk(server.world.context(), server.operators, head + body)


def post(server: Running, path: str, body: bytes, kind: str = "application/json") -> Reply:
    return ask(server, path, f"Content-Type: {kind}", f"Content-Length: {len(body)}", method="POST", body=body)


def test_everybody_can_read_it_and_it_names_every_endpoint(released: Running) -> None:
    with urllib.request.urlopen(
        f"{released.url}/openapi.json", context=released.world.context(), timeout=SECONDS
    ) as response:
        served = json.loads(response.read())
    assert served == openapi.description()
    assert sum(len(verbs) for verbs in served["paths"].values()) == len(openapi.ENDPOINTS)
    assert not list(undefined(served, served)), "every reference leads somewhere"
    handlers = [endpoint.handler for endpoint in openapi.ENDPOINTS]
    assert sorted(handlers) == sorted(HANDLERS), "every endpoint has a handler, and every handler is reached"


def undefined(node: Any, root: dict[str, Any]) -> Any:
    if isinstance(node, dict):
        target = root
        for part in node.get("$ref", "#").split("/")[1:]:
            target = target.get(part, {})
        if not target:
            yield node["$ref"]
        for one in node.values():
            yield from undefined(one, root)
    if isinstance(node, list):
        for one in node:
            yield from undefined(one, root)


def test_what_the_table_does_not_name_is_refused(released: Running) -> None:
    promote = "/v1/products/blink/channels/beta/promote"
    for path, said in (
        ("/v1/products?x=1", "'x' is not a parameter here"),
        ("/healthz?channel=stable", "'channel' is not a parameter here"),
        ("/v1/products/blink?channel=stable&channel=beta", "'channel' is given twice"),
    ):
        assert error(ask(released, path)) == (400, said)
    for body, said in (
        (b'{"from": "stable", "percnt": 10}', "'percnt' is not a field here"),
        (b'{"from": "stable", "version": "1.0"}', "neither or both of 'from' and 'version'"),
        (b"{}", "neither or both of 'from' and 'version'"),
        (b'{"from": "stable", "percent": true}', "'True' is not a percentage"),
        (b'{"from": "stable", "percent": "' + b"0" * 5000 + b'"}', "'" + "0" * 32 + "' is not a percentage"),
        (b'{"from": "stable", "percent": 1e400}', "'inf' is not a percentage"),
        (b"[]", "the body is not a JSON object"),
        (b'{"version": "1.0", "percent": 1, "percent": 100}', "a field is there twice"),
    ):
        assert error(post(released, promote, body)) == (400, said)
    status, said = error(post(released, promote, b'{"from": "\\ud800"}'))
    assert (status, said) == (422, "channel '\ud800' is not a valid name")
    assert error(post(released, promote.replace("promote", "rollback"), b'{"to": "1.0"}'))[0] == 400
    client = Client(released.url, released.token, released.world.ca)
    assert sorted(client.get("/v1/products/blink")["channels"]) == ["stable"]


def test_a_web_page_cannot_make_a_browser_ask(released: Running) -> None:
    path = "/v1/products/blink/channels/stable/rollback"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert error(post(released, path, b"{}", kind))[0] == 415
    preflight = ask(released, path, "Origin: https://example.org", method="OPTIONS")
    assert preflight.status == 405
    assert not [name for name in preflight.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/products/blink/channels/beta/certs", "POST", {"GET", "HEAD", "PUT"}),
        ("/v1/products/blink/channels/beta/promote", "GET", {"POST"}),
        ("/v1/products/blink/devices/retry", "GET", {"POST"}),
        ("/healthz", "PATCH", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_told_which_there_are(released: Running, path: str, method: str, allowed: set[str]) -> None:
    reply = ask(released, path, method=method)
    assert error(reply) == (405, f"no method '{method}' here")
    assert set(reply.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/v1", "/v1/products/", "/healthz/", "/v1/products/a%2Fb", "/docs", "//example.org/"])
def test_other_paths_are_not_there_and_lead_nowhere(released: Running, path: str) -> None:
    reply = ask(released, path)
    assert error(reply) == (404, "no such path")
    assert "location" not in reply.headers


def test_the_root_leads_to_the_page_of_this_server(released: Running) -> None:
    reply = ask(released, "/")
    assert (reply.status, reply.headers["location"]) == (303, "/page/")


def test_a_client_that_is_newer_than_the_server_says_so(released: Running) -> None:
    with pytest.raises(InputError, match="no such path") as caught:
        operator(released).get("/v2/of-tomorrow")
    assert caught.value.hint is not None
    assert "older than this otaseal" in caught.value.hint


def test_head_says_what_get_says(released: Running) -> None:
    for path in ("/healthz", "/v1/products/blink/releases", "/v1/products/blink/releases/1.0/firmware"):
        shown, head = ask(released, path), ask(released, path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == shown.headers["content-length"] == str(len(shown.body))


def test_a_body_that_never_comes_is_not_waited_for_after_a_refusal(released: Running) -> None:
    with (
        socket.create_connection(("127.0.0.1", released.operators), SECONDS) as raw,
        released.world.context().wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(get("/v1/products?x=1", "Content-Length: 1000", method="GET"))
        assert connection.recv(1024).startswith(b"HTTP/1.1 400")
