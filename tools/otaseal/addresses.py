"""Which addresses can be asked: one rule for the update server's, a broker's, a webhook's and a CI job's. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def dialled(url: str) -> SplitResult:
    """Return an address taken apart, whose host and port can be asked for; raises ValueError for any other."""
    parts = urlsplit(url)
    host, _ = parts.hostname or "", parts.port  # urllib reads the port only then
    host.encode("idna")  # as sockets do, which would raise it much later
    if not host.isprintable() or " " in host:
        raise ValueError(f"'{host}' is no host")
    return parts
