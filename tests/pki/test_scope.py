"""What a scope covers, and that one which cannot be read covers nothing."""

from __future__ import annotations

import pytest

from otaseal.errors import ConfigError, InputError
from otaseal.pki.scope import MAX_SCOPES, Scope, of_uris, parse_scope


@pytest.mark.parametrize(
    ("text", "product", "channel", "covered"),
    [
        ("blink", "blink", "stable", True),
        ("blink/beta", "blink", "beta", True),
        ("blink/beta", "blink", None, True),
        ("blink/beta", "blink", "stable", False),
        ("blink/beta", "lamp", "beta", False),
        ("*/beta", "lamp", "beta", True),
        ("*/beta", "lamp", "stable", False),
        ("*", "lamp", "stable", True),
        ("*", None, None, True),
        ("blink/-", "blink", None, True),
        ("blink/-", "blink", "stable", False),
        ("blink/-", "blink", "*", False),
        ("blink/-", "lamp", None, False),
        ("*/-", None, None, True),
        ("blink", None, None, False),
    ],
)
def test_covers(text: str, product: str | None, channel: str | None, covered: bool) -> None:
    scope = parse_scope(text)
    assert scope.covers(product, channel) is covered
    assert of_uris([scope.uri, "https://example.org/"]) == (scope,)


@pytest.mark.parametrize("text", ["", "/", "/beta", "blink/", "blink/beta/x", "Blink", "../x", "**", "a b", "a\n", "é"])
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a valid name"):
        parse_scope(text)
    with pytest.raises(InputError, match="cannot be read"):
        of_uris([f"OTASEAL:{text}"])


def test_a_certificate_without_scopes_is_for_everything_and_one_with_too_many_for_nothing() -> None:
    assert of_uris([]) == of_uris(["urn:x"]) == (Scope("*", "*"),)
    with pytest.raises(InputError, match="33 scopes"):
        of_uris(["otaseal:blink"] * (MAX_SCOPES + 1))
