"""Each authority vouches for one role: what it issues for another one could pose as the server (F23), or publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ... import files
from ...errors import ConfigError, naming
from .service import MAX_CA_BYTES, ServerOptions

if TYPE_CHECKING:
    from ...pki.certificate import Certificate


def check_roles(options: ServerOptions) -> None:
    """Raise ConfigError where clients are asked for certificates of another role's authority, InputError for others."""
    given = {"device": options.device_ca, "operator": options.operator_ca}
    authorities = {role: _read(path) for role, path in given.items() if path is not None}
    chain = _read(options.chain)
    for role, certificates in authorities.items():
        if any(_issued(issuer, child) for issuer in certificates for child in chain):
            raise ConfigError(
                f"--{role}-ca '{given[role]}' is the authority of the server's own certificate",
                f"its clients could pose as the server: give the {role}s' own, {role}-ca/certificate.pem",
            )
    if {one.der for one in authorities.get("device", ())} & {one.der for one in authorities.get("operator", ())}:
        raise ConfigError(
            f"--operator-ca '{options.operator_ca}' has an authority of --device-ca",
            "each device could publish: give the operators' own, operator-ca/certificate.pem",
        )


def _read(path: Path) -> tuple[Certificate, ...]:
    from ...pki.certificate import parse_certificates

    data = files.read_bounded(path, MAX_CA_BYTES, "certificate")
    with naming(path):
        return parse_certificates(data)


def _issued(issuer: Certificate, child: Certificate) -> bool:
    from ...pki.chain import names_match

    return issuer.der == child.der or (names_match(child, issuer) and child.signed_by(issuer))
