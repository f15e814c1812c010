"""post: the targets `uploadall`, `enroll`, `deploy` and others; certificates follow the firmware when they changed.

`uploadall` writes firmware and filesystem in one serial pass. After `-t upload`, certificates that have changed since
they were last shipped from this environment are named, or, with `custom_otaseal_uploadfs = on-change`, shipped: never
unasked, for `uploadfs` erases what the device has stored.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SystemFaultError
from ..settings import Settings
from . import build, deploy, deploy_certs, enroll, lock, made_image, platforms, targets

ERASING = "erase_upload"
"""A target of pioarduino's: erases all of the flash, the certificates included, and uploads the firmware (F76)."""
FIRMWARE_TARGETS = ("upload", ERASING, "uploadall", "deploy", "rehearse")


@build.attaching("post")
def attach(env: build.Env, options: Settings) -> None:
    """Declare the targets that the project does not have itself, keep the record of what was shipped, and look at it
    after an upload.
    """
    uploads = {"upload", ERASING} if _is_platforms(env, ERASING) else {"upload"}

    def then(ours: frozenset[str]) -> None:
        _refuse_two_products(build.requested(), {*uploads, *ours})
        _record_shipping(env, {"uploadfs", "uploadfsota", *ours})

    firmware = build.firmware(env)  # its name by now: declarations come after scripts that may set another
    declarations: dict[str, Callable[[build.Env], None]] = {
        "uploadall": partial(_declare_uploadall, firmware=firmware),
        "deploy": partial(deploy.declare, options=options, firmware=firmware),
        "rehearse": partial(deploy.declare_rehearsal, options=options, firmware=firmware),
        "deploycerts": partial(deploy_certs.declare, options=options),
        lock.TARGET: lock.declare,
        "enroll": partial(enroll.declare, options=options),
    }
    targets.declare_last(env, declarations, then)
    if build.is_test():
        return
    for target in {"erase", ERASING} & build.requested():
        if _is_platforms(env, target):
            env.AddPostAction(target, build.action(env, _forget_shipping, None))
    for target in uploads & build.requested():
        env.AddPostAction(target, _after_upload(env, options))


def _is_platforms(env: build.Env, target: str) -> bool:
    """Tell whether the platform's builder has declared `target`, and no script of the project."""
    declared = env.get("__PIO_TARGETS", {}).get(target)
    return declared is not None and declared["group"] == "Platform"


def _forget_shipping(env: build.Env) -> None:
    """Note that the flash was erased, and the certificates in it with everything else."""
    from ..project import shipped

    shipped.forget(_record(env), env["PIOENV"])


def _refuse_two_products(wanted: frozenset[str], known: Container[str]) -> None:
    """Refuse a run that is to make a filesystem and to use the firmware: the platform makes one of the two in a run.

    The firmware would be that of an earlier build, whatever its version is said to be now; `upload` would even write
    the filesystem in its place. Of `wanted`, those targets count that are `known`, and not the project's own.
    """
    image = next((target for target in build.FILESYSTEM_TARGETS if target in wanted), None)
    user = next((target for target in FIRMWARE_TARGETS if target in wanted and target in known), None)
    if image is None or user is None:
        return
    if user.startswith("upload"):
        hint = "write both in one pass: pio run -t uploadall"
    else:
        hint = f"use two runs: pio run -t {image}, then pio run -t {user}"
    raise ConfigError(f"'-t {image}' and '-t {user}' in one run: it makes the filesystem and no firmware", hint)


def _declare_uploadall(env: build.Env, firmware: Any) -> None:
    sources = [firmware]
    if "uploadall" in build.requested():
        if "nobuild" in build.requested():
            raise ConfigError("'uploadall' cannot work with 'nobuild'", "leave 'nobuild' out")
        sources += [build.filesystem_image(env), env.File(env.subst("$PROGPATH"))]
    # SCons quotes the paths of nodes where that is needed, and quotes around them would undo it.
    commands = [command.replace("${SOURCES[0]}", _raw_image(env)) for command in platforms.of(env).uploadall]
    actions = [
        build.action(env, _refuse_other_protocols, "Checking the way to the device"),
        *_before_sending(env),
        *(env.VerboseAction(command, "Uploading firmware and filesystem") for command in commands),
    ]
    env.AddCustomTarget(
        "uploadall",
        [*sources, "checkprogsize"] if env.get("SIZETOOL") else sources,
        actions,
        title="Upload Firmware and Filesystem",
        description="Write the firmware and the filesystem image with its certificates in one serial pass",
    )
    if "uploadall" in build.requested():
        env.Depends("uploadall", "buildprog")


def _before_sending(env: build.Env) -> list[Any]:
    """Return what the platform's own `upload` does before it sends anything: looking for a port, or for a device."""
    action = env.Alias("upload")[0].builder.action
    return list(getattr(action, "list", [action]))[:-1]


def _raw_image(env: build.Env) -> str:
    return "${SOURCES[0]}.orig" if build.is_compressed(env) else "${SOURCES[0]}"


def _refuse_other_protocols(env: build.Env) -> None:
    platform = platforms.of(env)
    if build.uploads_over_the_air(env) or env.subst("$UPLOAD_PROTOCOL") not in ("", platform.protocol):
        shown = "espota" if build.uploads_over_the_air(env) else env.subst("$UPLOAD_PROTOCOL")
        raise ConfigError(f"'uploadall' writes by cable, and the upload protocol is '{shown}'", platform.instead)


def _record_shipping(env: build.Env, known: Container[str]) -> None:
    """After a target that is `known` sent a filesystem, remember which certificates were in the image."""
    wanted = [name for name in ("uploadfs", "uploadfsota", "uploadall") if name in known and name in build.requested()]
    if not wanted:
        return
    image = Path(build.filesystem_image(env).get_abspath())

    def work(env: build.Env) -> None:
        from ..project import shipped

        archive = made_image.archive_in(image, made_image.partition(env))
        if archive is not None:
            shipped.remember(_record(env), env["PIOENV"], archive)

    for target in wanted:
        env.AddPostAction(target, build.action(env, work, "Remembering the shipped certificates"))


def _after_upload(env: build.Env, options: Settings) -> object:
    def work(env: build.Env) -> str | None:
        from datetime import datetime, timezone

        from ..certs import packing
        from ..project import shipped

        project, data = build.path(env, "."), build.path(env, "$PROJECT_DATA_DIR")
        packed = packing.pack_project(options, data, project, datetime.now(timezone.utc))
        if shipped.is_current(_record(env), env["PIOENV"], packed.archive):
            return None
        command = f"pio run -e {env['PIOENV']} -t uploadfs"
        if options.uploadfs != "on-change":
            return f"otaseal: the CA certificates have changed since they were last shipped; ship them: {command}"
        if not build.uploads_over_serial(env):
            return f"otaseal: the CA certificates have changed; ship them over the wire: {command} --upload-port <port>"
        print("otaseal: the CA certificates have changed: shipping them", flush=True)
        _run_uploadfs(env)
        return None

    return build.action(env, work, "Comparing the certificates with those last shipped")


def _run_uploadfs(env: build.Env) -> None:
    import subprocess

    command = [env.subst("$PYTHONEXE"), "-m", "platformio", "run", "-d", env.subst("$PROJECT_DIR")]
    command += ["-c", env.subst("$PROJECT_CONFIG"), "-e", env["PIOENV"], "-t", "uploadfs"]
    # A run inside a run inherits neither the port nor the configuration file.
    if env.subst("$UPLOAD_PORT"):
        command += ["--upload-port", env.subst("$UPLOAD_PORT")]
    code = subprocess.run(command, check=False, cwd=env.subst("$PROJECT_DIR")).returncode
    if code:
        raise SystemFaultError(
            f"the firmware is on the device, and shipping the certificates failed with exit code {code}",
            f"see above, then: pio run -e {env['PIOENV']} -t uploadfs",
        )


def _record(env: build.Env) -> Path:
    return build.path(env, "$PROJECT_WORKSPACE_DIR") / "otaseal" / "shipped.json"
