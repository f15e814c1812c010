"""Which addresses can be asked: one rule for servers, brokers, webhooks, databases and CI jobs. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def split_url(url: str) -> SplitResult:
    """Return an address as `urlsplit` does; one whose host or port cannot be asked has no parts at all."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - urllib reads it only then
        check_host(parts.hostname or "")
    except ValueError:
        return urlsplit("")
    return parts


def check_host(host: str) -> None:
    """Raise ValueError for a host that cannot be asked; "" is none, which is for the caller to refuse."""
    host.encode("idna")  # as sockets do, which would raise it much later; a UnicodeError is a ValueError
    if not host.isprintable() or " " in host:
        raise ValueError(f"'{host}' is no host")
