"""A deployment: how a release is to be published, what was admitted for it, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import VerificationError, counted
from ..image.firmware import Firmware
from ..keys import public
from ..release import stranding
from ..release.admission import Policy, admit
from ..release.plan_fields import PlanFile
from ..release.record_json import from_json
from ..release.records import Origin, Release
from ..release.stranding import Consent
from ..release.waves import Wave

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


@dataclass(frozen=True)
class Options:
    """How a release is published: in which channel, to which share of its devices (per cent), what it may do to them.

    The rollout halts when more than `max_failed` per cent of the devices that took it are not back with it after
    `patience` minutes; None: the server's default.
    """

    channel: str = "stable"
    percent: int = 100
    allow_downgrade: bool = False
    consent: Consent = field(default_factory=Consent)
    max_failed: int | None = None
    patience: int | None = None
    waves: tuple[Wave, ...] = ()
    """In place of a share of the devices, where there is a plan."""

    def with_plan(self, plan: PlanFile | None) -> Options:
        """Return the options with what a plan says, and they do not."""
        if plan is None:
            return self
        max_failed = plan.max_failed if self.max_failed is None else self.max_failed
        patience = plan.patience if self.patience is None else self.patience
        return replace(self, waves=plan.waves, max_failed=max_failed, patience=patience)


@dataclass(frozen=True)
class Admitted:
    """Files that the server will accept, with their record and the server's `state` that they were checked against."""

    files: tuple[Firmware, ...]
    release: Release
    origin: Origin
    options: Options
    state: Mapping[str, Any] = field(repr=False)

    @property
    def boards(self) -> tuple[Admitted, ...]:
        """What was admitted for each board, by itself."""
        if not self.release.others:
            return (self,)
        return tuple(
            replace(self, files=self._of(image), release=image, origin=replace(self.origin, board=image.board))
            for image in self.release.images
        )

    def _of(self, image: Release) -> tuple[Firmware, ...]:
        blobs = {form.blob for form in image.forms}
        return tuple(file for file in self.files if hashlib.sha256(file.data).hexdigest() in blobs)


@dataclass(frozen=True)
class Deployment:
    """What was published and confirmed: the record, the channel's versions before and after, devices by version."""

    release: Release
    channel: str
    before: str | None
    percent: int
    waves: int
    devices: Mapping[str, int]
    url: str
    confirmed: str
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    """Whether the channel gave out this very release before, to as many devices."""

    def lines(self) -> list[str]:
        """Return for a person what changes, and for whom."""
        release = self.release
        share = "every device" if self.percent == 100 else f"{self.percent} % of the devices"
        share = f"the first of {self.waves} waves" if self.waves > 1 else share
        count = counted(len(release.files), "file")
        if release.others:
            count += " for " + ", ".join(image.board or f"board {image.board_key}" for image in release.images)
        published = f"{count} published already, nothing changed" if self.unchanged else f"{count} published"
        lines = [f"{release.product} {release.version}: {published}, read back as {self.confirmed} do"]
        change = release.version if self.unchanged else f"{self.before or 'nothing'} -> {release.version}"
        lines.append(f"channel '{self.channel}': {change}, for {share}")
        lines += [f"  {counted(count, 'device')} seen there: {version}" for version, count in self.devices.items()]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return [*lines, self.url]

    def as_dict(self) -> dict[str, Any]:
        """Return it in JSON's own types."""
        return {
            "product": self.release.product,
            "version": self.release.version,
            "channel": self.channel,
            "before": self.before,
            "percent": self.percent,
            "waves": self.waves,
            "devices": dict(self.devices),
            "url": self.url,
            "confirmed": self.confirmed,
            "warnings": list(self.warnings),
            "security_counter": self.release.security_counter,
            "key": self.release.key_fingerprint,
            "files": [{"kind": form.kind, "size": form.size, "sha256": form.blob} for form in self.release.files],
        }


def admit_against(
    signed: Sequence[Firmware], origin: Origin, options: Options, state: Mapping[str, Any], boards: Sequence[str]
) -> Release:
    """Return the record of the `signed` files, if the server in this `state` will accept them; raises as it would."""
    current = None if state["current"] is None else from_json(state["current"])
    policy = Policy(origin.product, public_keys_of(state), allow_downgrade=options.allow_downgrade)
    new = admit(signed, origin, policy, current, boards)
    # An older server does not say what its devices run, and checks that by itself.
    groups = [
        stranding.Group(None if group["release"] is None else from_json(group["release"]), group["count"])
        for group in state.get("fleet", [])
    ]
    stranding.check(new, current, groups, options.consent)
    return new


def check_record(stored: Release, admitted: Release) -> None:
    """Raise VerificationError for a record of something else; one of format 1 has no counter."""
    same_counter = stored.embedded_keys is None or stored.security_counter == admitted.security_counter
    same_name = (stored.product, stored.version) == (admitted.product, admitted.version)
    if not same_counter or not same_name or set(stored.files) != set(admitted.files):
        raise VerificationError(
            f"the server has recorded '{stored.product} {stored.version}', which is not what was published",
            "look at the server's log; another deployment may have come between",
        )


def public_keys_of(state: Mapping[str, Any]) -> list[RSAPublicKey]:
    """Return the product's public keys out of what the server says of it."""
    return [public.load_public_key(pem.encode(), f"the server's key '{name}'") for name, pem in state["keys"].items()]
