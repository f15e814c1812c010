"""What an operator may touch: a product, and a channel of it. One rule for tokens and for certificates.

A certificate carries its scopes as URIs of the scheme `otaseal` among its subject alternative names, so that who issues
it says what it is for, and no server has to be told. A certificate without any is for everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ConfigError, InputError
from ..names import check_name

ANY = "*"
NONE = "-"
"""In place of a channel: none may be changed, and all of the product can be read."""
SCHEME = "otaseal:"
MAX_SCOPES = 32


@dataclass(frozen=True)
class Scope:
    """One product or `*`, and one channel of it, `*`, or `-` for none; raises ConfigError for what is no name."""

    product: str = ANY
    channel: str = ANY

    def __post_init__(self) -> None:
        for what, text, others in (("product", self.product, (ANY,)), ("channel", self.channel, (ANY, NONE))):
            if text not in others:
                check_name(text, f"a scope's {what}", ConfigError)

    def covers(self, product: str | None, channel: str | None) -> bool:
        """Whether it is for this product (None: for the whole server) and this channel of it (None: whichever)."""
        if product is None:
            return self.product == ANY
        return self.product in (ANY, product) and (channel is None or self.channel in (ANY, channel))

    @property
    def uri(self) -> str:
        """How a certificate says it, as in `otaseal:blink/beta`."""
        return f"{SCHEME}{self}"

    def __str__(self) -> str:
        return f"{self.product}/{self.channel}"


def parse_scope(text: str) -> Scope:
    """Return the scope of `blink`, `blink/beta`, `*/beta` or `blink/-`; raises ConfigError."""
    product, slash, channel = text.partition("/")
    return Scope(product, channel if slash else ANY)


def of_uris(uris: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes among a certificate's URIs, `*/*` where there are none.

    Raises InputError when one of them cannot be read: what it was meant to keep out is not known.
    """
    ours = [uri for uri in uris if uri.lower().startswith(SCHEME)]
    try:
        if len(ours) > MAX_SCOPES:
            raise ConfigError(f"{len(ours)} scopes", f"{MAX_SCOPES} are the most")
        return tuple(parse_scope(uri[len(SCHEME) :]) for uri in ours) or (Scope(),)
    except ConfigError as error:
        raise InputError(f"the certificate's scope cannot be read: {error.message}", "issue it again") from error
