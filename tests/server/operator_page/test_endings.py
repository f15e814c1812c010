"""What ends soon, and who can get in: of the server, of what devices trust, of operators."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from otaseal.server.operator_page.screens.certificates import SOON_SECONDS, URGENT_SECONDS, Ending
from otaseal.store.tokens import TokenFile
from support.page_client import HOME, visit
from support.servers import Running


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        (SOON_SECONDS, "idle"),
        (SOON_SECONDS - 1, "warn"),
        (URGENT_SECONDS, "warn"),
        (URGENT_SECONDS - 1, "bad"),
        (-1, "bad"),
    ],
)
def test_an_end_that_is_near_is_marked(left: float, kind: str) -> None:
    assert Ending("", "", 1000.0 + left, "").kind(1000.0) == kind


def test_the_servers_own_certificate_is_listed(bare: Running) -> None:
    shown = visit(bare).see(f"{HOME}/certificates").text
    assert "CN=blink server" in shown
    assert "Of this server" in shown


def test_tokens_are_listed_without_their_secrets(server: Running) -> None:
    now, tokens = datetime.now(timezone.utc), TokenFile(server.store)
    token, secret = tokens.issue("alice", "blink", "-", 5, now)
    other, _ = tokens.issue("of-lamp", "lamp", "*", 5, now)
    reply = visit(server).ask("GET", f"{HOME}/access")
    text = reply.body.decode()
    assert "alice" in text
    assert "blink, to read" in text
    assert token.id in text
    assert "never used" in text
    for hidden in (secret, token.sha256, server.token, "of-lamp", other.id):
        assert hidden not in text
