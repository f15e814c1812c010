"""The target `deploy`, which `ship` declares: build, sign, publish to the update server, and read it back.

What is sent is `firmware.bin.signed` as it was built in this very run, or the one that belongs to the binary beside it;
and with `custom_otaseal_compress` its compressed form, so that the server can give each device what it takes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import ConfigError, InputError
from ..settings import Settings
from . import attachments, build, claim, deploy_boards, planning, rehearse

if TYPE_CHECKING:
    from ..client.client import Client
    from ..image.firmware import Firmware
    from ..release.records import Origin

REHEARSAL = "rehearsal"
"""What a build without a product is called while it is rehearsed."""


def declare(env: build.Env, options: Settings, firmware: Any) -> None:
    """Declare the target for the node `firmware`; what is missing for it is said when it is asked for."""

    def work(env: build.Env) -> str:
        connected, product = connect(env, options)
        signed = _signed_firmware(Path(firmware.get_abspath()), options)
        origin = _origin(env, options, product)
        if options.environments:
            return deploy_boards.deploy(env, options, connected, signed, origin)
        wanted = planning.wanted(env, options, connected, product)
        admitted = connected.check(signed, origin, wanted)
        planning.say_purpose(connected, admitted)
        rehearsed = rehearse.before_deploy(env, options, connected, admitted)
        size = sum(len(form.data) for form in signed)
        print(f"otaseal: publishing {product} {origin.version}, {size} bytes, to {connected.url}", flush=True)
        attached = attachments.collect(
            env, options, connected, admitted, {env["PIOENV"]: [form.data for form in signed]}
        )
        done = connected.publish(admitted, rehearsed, attachments=attached)
        return "\n".join(f"otaseal: {line}" for line in done.lines())

    env.AddCustomTarget(
        "deploy",
        [firmware],
        [build.action(env, work, "Publishing the firmware")],
        title="Deploy",
        description="Publish the signed firmware to the update server, and confirm it by reading it back",
    )
    if "deploy" in build.requested():
        env.Depends("deploy", "buildprog")


def declare_rehearsal(env: build.Env, options: Settings, firmware: Any) -> None:
    """Declare the target `rehearse`: what `deploy` does before it publishes `firmware`, and every step of it shown."""

    def work(env: build.Env) -> str:
        from .. import rehearsal
        from ..rehearsal import text

        signed = _signed_firmware(Path(firmware.get_abspath()), options)
        connected = None if options.server is None or options.product is None else connect(env, options)[0]
        origin = _origin(env, options, options.product or REHEARSAL)
        report = rehearse.live_report(env, options, connected, signed, origin)
        print(build.runnable(env, "\n".join(text.report_lines(report))), flush=True)
        if not report.good:
            raise rehearsal.refusal(report)
        return "otaseal: the rehearsal went well"

    env.AddCustomTarget(
        "rehearse",
        [firmware],
        [build.action(env, work, "Rehearsing the update")],
        title="Rehearse",
        description="Play the update on a virtual device, with the built files and the live server",
    )
    if "rehearse" in build.requested():
        env.Depends("rehearse", "buildprog")


def connect(env: build.Env, options: Settings) -> tuple[Client, str]:
    """Return the client that the options describe, and the product; raises ConfigError for what is not set."""
    from ..client import credentials

    connected = credentials.connect(options, build.path(env, "."), os.environ)
    if options.product is None:
        raise ConfigError("custom_otaseal_product is not set", "name the product as the update server knows it")
    return connected, options.product


def _origin(env: build.Env, options: Settings, product: str) -> Origin:
    """Return where this build comes from; raises ConfigError for a version that nothing gives."""
    from ..project import source_version

    claim.warn_of_git(env)
    state = claim.git_state(env)
    if options.version is None and (state is None or state.fault) and product == REHEARSAL:
        version = REHEARSAL
    else:
        version = source_version.version_from(options.version, state)
    return source_version.origin(product, version, env.subst("$BOARD"), state)


def _signed_firmware(firmware: Path, options: Settings) -> list[Firmware]:
    """Return the signed file, and its compressed form where the build makes one."""
    forms = [build.SIGNED_SUFFIX] if options.compress == "no" else [build.SIGNED_SUFFIX, build.PACKED_SUFFIX]
    return [_one_signed(firmware, suffix) for suffix in forms]


def _one_signed(firmware: Path, suffix: str) -> Firmware:
    from ..image import signing
    from ..image.firmware import Firmware

    path = firmware.with_name(firmware.name + suffix)
    if not path.is_file():
        raise InputError(
            f"there is no '{path.name}'", "attach sign_firmware.py, which makes it: post:.../sign_firmware.py"
        )
    signed = Firmware(files.read_bounded(path, MAX_IMAGE_SIZE, "signed firmware"))
    built = files.read_bounded(firmware, MAX_IMAGE_SIZE, "firmware")
    if not signing.belongs_to(signed, Firmware(built, signed=False)):
        raise InputError(f"'{path.name}' is not the signed form of '{firmware.name}'", "build again without 'nobuild'")
    return signed
