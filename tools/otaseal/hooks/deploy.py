"""The target `deploy`, which `ship` declares: build, sign, publish to the update server, and read it back.

What is sent is `firmware.bin.signed` as it was built in this very run, or the one that belongs to the binary beside it;
and with `custom_otaseal_compress` its compressed form, so that the server can give each device what it takes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ConfigError, InputError
from ..settings import Settings
from . import build

if TYPE_CHECKING:
    from ..client import Client

__all__ = ["connect", "declare"]


def declare(env: build.Env, options: Settings) -> None:
    """Declare the target; what is missing for it is said when it is asked for."""

    def work(env: build.Env) -> str:
        from datetime import datetime, timezone

        from .. import client, origin
        from ..release import Origin

        connected, product = connect(env, options)
        signed = _signed_firmware(env, options)
        project = build.path(env, ".")
        state = origin.git_state(project)
        version = origin.version_from(options.version, state)
        created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        commit, dirty = (state.commit, state.dirty) if state else ("", False)
        made = Origin(product, version, created, env.subst("$BOARD"), commit, dirty)
        print(f"otaseal: publishing {product} {version}, {sum(map(len, signed))} bytes, to {connected.url}", flush=True)
        done = connected.deploy(signed, made, client.Options(options.channel))
        return "\n".join(f"otaseal: {line}" for line in done.lines())

    env.AddCustomTarget(
        "deploy",
        [env.File(env.subst("$BUILD_DIR/${PROGNAME}.bin"))],
        [build.action(env, work, "Publishing the firmware")],
        title="Deploy",
        description="Publish the signed firmware to the update server, and confirm it by reading it back",
    )
    if "deploy" in build.requested():
        env.Depends("deploy", "buildprog")


def connect(env: build.Env, options: Settings) -> tuple[Client, str]:
    """Return the client that the options describe, and the product; raises ConfigError for what is not set."""
    from .. import client

    if options.server is None:
        raise ConfigError("custom_otaseal_server is not set", "name the update server, as in https://update.local:8444")
    if options.product is None:
        raise ConfigError("custom_otaseal_product is not set", "name the product as the update server knows it")
    project = build.path(env, ".")
    token_file = None if options.token_file is None else files.resolve_path(options.token_file, project)
    authority = None if options.server_ca is None else files.resolve_path(options.server_ca, project)
    return client.Client(options.server, client.load_token(token_file, os.environ), authority), options.product


def _signed_firmware(env: build.Env, options: Settings) -> list[bytes]:
    """Return the signed file, and its compressed form where the build makes one."""
    forms = [build.SIGNED_SUFFIX] if options.compress == "no" else [build.SIGNED_SUFFIX, build.PACKED_SUFFIX]
    return [_one_signed(build.path(env, "$BUILD_DIR/${PROGNAME}.bin"), suffix) for suffix in forms]


def _one_signed(firmware: Path, suffix: str) -> bytes:
    from .. import signing

    path = firmware.with_name(firmware.name + suffix)
    if not path.is_file():
        raise InputError(
            f"there is no '{path.name}'", "attach sign_firmware.py, which makes it: post:.../sign_firmware.py"
        )
    signed = files.read_bounded(path, signing.MAX_IMAGE_SIZE, "signed firmware")
    if not signing.belongs_to(signed, files.read_bounded(firmware, signing.MAX_IMAGE_SIZE, "firmware")):
        raise InputError(f"'{path.name}' is not the signed form of '{firmware.name}'", "build again without 'nobuild'")
    return signed
