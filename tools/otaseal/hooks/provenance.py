"""What a deployment says of the build that it comes from, where `custom_otaseal_provenance` asks for that."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..settings import Settings
from . import build, signing_key

if TYPE_CHECKING:
    from ..release.records import Origin

FORMS = (build.SIGNED_SUFFIX, build.PACKED_SUFFIX)
"""In the order in which an environment's files stand."""


def attachments(
    env: build.Env, options: Settings, origin: Origin, images: Mapping[str, Sequence[bytes]]
) -> dict[str, bytes]:
    """Return the attachments of a release whose signed files are `images`, by environment: its provenance, if wanted.

    It is signed by the key that signs the firmware. Raises ConfigError, and what opening that key raises.
    """
    if options.provenance == "no":
        return {}
    from ..project.builder import describe_build
    from ..release import provenance
    from ..release.attachments import PROVENANCE

    platform = env.PioPlatform()
    described = describe_build(
        options,
        origin,
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
    return {PROVENANCE: provenance.sign(provenance.statement(named, described), signing_key.signer(env, options))}
