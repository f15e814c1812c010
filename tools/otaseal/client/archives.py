"""The client for certificate archives: check one, publish it, and read it back as a device would."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..errors import VerificationError, counted
from ..protocol.request import ARCHIVE_FILE
from ..release import signed_archive
from .client import Client, device_path, product_path
from .deployment import public_keys_of


@dataclass(frozen=True)
class ArchiveDeployment:
    """What was published: `archive` is the SHA-256 that devices report, `size` the bytes of the signed file.

    It was read back from `url`; None where only the server's record was compared: devices need a certificate.
    """

    channel: str
    archive: str
    certificates: int
    size: int
    url: str | None

    def lines(self) -> list[str]:
        """Return for a person what was published."""
        where = f"read back from {self.url}" if self.url else "the server has it, by its SHA-256"
        certificates = counted(self.certificates, "CA certificate")
        return [f"channel {self.channel} gives out {certificates}, {self.size} bytes; {where}"]


def current_archive(client: Client, state: Mapping[str, Any], product: str, channel: str) -> bytes | None:
    """Return the signed archive that devices get; None without one, or where devices need a certificate."""
    if not state.get("device_port") or state.get("device_certificates"):
        return None
    return client.as_device(state["device_port"]).fetch(device_path(product, channel, ARCHIVE_FILE))


def standing(client: Client, signed: bytes, product: str, channel: str) -> str:
    """Return whether a channel gives out this very archive; raises as `deploy_archive`."""
    answer = client.get(product_path(product, "channels", channel, "certs"))
    same = answer["certs"]["blob"] == hashlib.sha256(signed).hexdigest()
    return f"the archive is {'' if same else 'not '}published in channel '{channel}'"


def deploy_archive(client: Client, signed: bytes, product: str, channel: str, rehearsal: str = "") -> ArchiveDeployment:
    """Check a signed certificate archive as the server will, publish it in a channel, and read it back.

    `rehearsal` is as in `Client.publish`. The server also checks that devices with these certificates would accept it.
    Raises InputError and VerificationError for what is refused, SystemFaultError when the server cannot be reached.
    """
    keys = public_keys_of(client.get(product_path(product)))
    signed_archive.admit(signed, product, keys, None, None, datetime.now(timezone.utc))
    path = product_path(product, "channels", channel, "certs")
    answer: Mapping[str, Any] = client.put(f"{path}?rehearsal={rehearsal}" if rehearsal else path, signed)
    record, url = answer["certs"], None
    if record["blob"] != hashlib.sha256(signed).hexdigest():
        raise VerificationError("the server has another archive than was sent", "another deployment came between")
    if answer["device_port"] and not answer["device_certificates"]:
        url = client.as_device(answer["device_port"]).read_back(device_path(product, channel, ARCHIVE_FILE), [signed])
    return ArchiveDeployment(channel, record["archive"], record["certificates"], record["size"], url)
