"""The history on the page: who did what, and the kinds of callers of one name apart."""

from __future__ import annotations

from otaseal.store.backend import open_backend
from support.page_client import HOME, visit
from support.servers import PRODUCT, StartServer, operator, publish_two


def test_the_history_says_who_did_what(start_server: StartServer) -> None:
    server = publish_two(start_server())
    client = visit(server)
    operator(server).post(f"/v1/products/{PRODUCT}/channels/stable/percent", {"percent": 90})
    shown = client.see(f"{HOME}/history")
    assert "Token tests pointed stable at 1.1 percent 90" in shown.text
    assert f"{HOME}/history?by=token%3Atests" in shown.links
    assert "published 1.0" not in client.see(f"{HOME}/history?version=1.1").text
    assert "published 1.0" in client.see(f"{HOME}/history?by=token%3Atests&version=1.0").text
    assert "Nothing like that was done" in client.see(f"{HOME}/history?by=somebody").text
    client.see(f"{HOME}/history?after=x", 400)


def test_the_history_tells_callers_of_one_name_apart(start_server: StartServer) -> None:
    callers = ("token:eve", "certificate:eve", "oidc:eve", "local:eve", "mqtt:install", "server", "other:eve", "eve",
               "oidc:token:eve", "oidc:github#eve", "certificate:\u202eeve<b>")  # fmt: skip
    server = start_server()
    with open_backend(str(server.store)) as backend:
        for number, who in enumerate(callers):
            event = {"event": "notes", "product": PRODUCT, "version": f"7.{number}", "by": who}
            backend.store.record_event(event)
    shown = visit(server).see(f"{HOME}/history").text
    said = ("Token eve", "Certificate eve", "Token of an issuer eve", "At the server eve", "MQTT install", "The server",
            "other:eve", "eve", "Token of an issuer token:eve",
            "Token of an issuer github#eve", "Certificate [U+202E]eve<b>")  # fmt: skip
    for number, who in enumerate(said):
        assert f" {who} said what 7.{number} is for" in shown, who
