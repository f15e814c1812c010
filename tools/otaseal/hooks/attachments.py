"""What a deployment sends beside the images: what is in them, who built them, and the release's entry in the log."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..settings import Settings
from . import build, sbom, signing_key

if TYPE_CHECKING:
    from ..client.client import Client
    from ..client.deployment import Admitted

FORMS = (build.SIGNED_SUFFIX, build.PACKED_SUFFIX)
"""In the order in which an environment's files stand."""


def collect(
    env: build.Env, options: Settings, connected: Client, admitted: Admitted, images: Mapping[str, Sequence[bytes]]
) -> dict[str, bytes]:
    """Return the attachments by kind of what was admitted, whose signed files are `images`, by environment.

    They are signed by the key that signs the firmware. Raises ConfigError, and what opening that key raises.
    """
    from ..release.attachments import LOG, PROVENANCE

    attached = sbom.attachment(env, options, admitted.origin, images)
    if options.provenance == "yes":
        attached[PROVENANCE] = _provenance(env, options, admitted, images, attached)
    if options.log == "yes":
        from ..client.release_log import next_entry

        attached[LOG] = next_entry(connected, admitted.release, attached, signing_key.signer(env, options))
    return attached


def _provenance(
    env: build.Env,
    options: Settings,
    admitted: Admitted,
    images: Mapping[str, Sequence[bytes]],
    beside: Mapping[str, bytes],
) -> bytes:
    """Return the provenance of the images, and of what is sent `beside` them, by kind."""
    from ..project.builder import describe_build
    from ..release import provenance

    platform = env.PioPlatform()
    described = describe_build(
        options,
        admitted.origin,
        os.environ,
        environments=" ".join(images),
        platform=f"{platform.name}@{platform.version}",
        framework=" ".join(env.get("PIOFRAMEWORK", [])),
    )
    named = {
        f"{environment}/firmware.bin{suffix}": data
        for environment, files in images.items()
        for suffix, data in zip(FORMS, files, strict=False)
    }
    named |= {f"{kind}.json": data for kind, data in beside.items()}
    return provenance.sign(provenance.statement(named, described), signing_key.signer(env, options))
