"""The target `deploycerts`, which `ship` declares: the project's certificates, signed and published to devices.

What is published is what the next filesystem image would hold: the certificates are packed anew, whatever lies in the
data directory. Only devices with the OtaSeal library fetch it, and a virtual one takes it before anything is published.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..keys.public import FIRST_KEY_HINT
from ..settings import Settings
from . import build, deploy, rehearse, signing_key


def declare(env: build.Env, options: Settings) -> None:
    """Declare the target; what is missing for it is said when it is asked for."""

    def work(env: build.Env) -> str:
        from datetime import datetime, timezone

        from ..certs import packing
        from ..client import archives
        from ..image.manifest import Claim
        from ..release import signed_archive

        connected, product = deploy.connect(env, options)
        if options.signing_key is None:
            raise ConfigError("custom_otaseal_signing_key is not set", f"set it to file:<path>; {FIRST_KEY_HINT}")
        now = datetime.now(timezone.utc)
        project, data = build.path(env, "."), build.path(env, "$PROJECT_DATA_DIR")
        packed = packing.pack_project(options, data, project, now)
        for finding in packed.findings:
            build.warn(f"{finding}; {build.runnable(env, finding.hint)}")
        claim = Claim(product, "", f"{now:%Y-%m-%d}", options.security_counter, int(now.timestamp()))
        signed = signed_archive.sign(packed.archive, claim, signing_key.signer(env, options), now)
        rehearsed = rehearse.before_deploycerts(env, options, connected, signed, product)
        done = archives.deploy_archive(connected, signed, product, options.channel, rehearsed)
        return "\n".join(f"otaseal: {line}" for line in done.lines())

    env.AddCustomTarget(
        "deploycerts",
        None,
        [build.action(env, work, "Publishing the certificates")],
        title="Deploy Certificates",
        description="Sign the CA certificates and publish them, for devices with the OtaSeal library to fetch",
    )
