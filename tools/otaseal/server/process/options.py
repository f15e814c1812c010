"""What `otaseal serve` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerOptions:
    """The options of `otaseal serve`; `products` are names with the file of a public key to add."""

    store: Path
    chain: Path
    key: Path
    listen: str = "127.0.0.1:8443"
    operator_listen: str = "127.0.0.1:8444"
    device_ca: Path | None = None
    operator_ca: Path | None = None
    revoked: Path | None = None
    no_revocations: bool = False
    products: tuple[tuple[str, Path], ...] = ()
    names: tuple[str, ...] = ()
    trusted: Path | None = None
    workers: int = 1
