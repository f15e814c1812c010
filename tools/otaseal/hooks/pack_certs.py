"""post: CA certificates become `data/certs.ar` before the filesystem image is built, as part of that image's node.

Hooking the alias `buildfs` would come too late, and never for `uploadfs` (F32). The archive is looked at in every
filesystem run, because SCons misses a file that a person edited, and written only when its bytes change.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import ConfigError
from ..settings import Settings
from . import build

if TYPE_CHECKING:
    from ..leaks import Secrets

__all__ = ["attach"]


@build.attaching
def attach(env: build.Env, options: Settings) -> None:
    """Declare the archive as something that the filesystem image depends on."""
    if "nobuild" in build.requested():
        return
    image = build.filesystem_image(env)
    if not image.has_builder():
        return
    # Only what follows needs the certificates' rules: a build of the firmware does not pay for importing them.
    from .. import cert_packing
    from . import signing_key

    _guard_over_the_air(env, Path(image.get_abspath()))
    archive = build.path(env, "$PROJECT_DATA_DIR") / cert_packing.ARCHIVE_NAME
    image_path = Path(image.get_abspath())

    @cache
    def secrets() -> Secrets:
        return signing_key.unprompted_secrets(env, options)

    def work(env: build.Env) -> str:
        _warn_of_filesystem(env, options)
        packed = cert_packing.pack_project(options, archive.parent, build.path(env, "."), datetime.now(timezone.utc))
        for finding in packed.findings:
            build.warn(str(finding))
        signing_key.refuse_in_data(archive.parent, packed.archive, image_path, secrets())
        changed = files.write_if_changed(archive, packed.archive)
        state = "written" if changed else "unchanged"
        plural = "" if len(packed.anchors) == 1 else "s"
        return f"otaseal: {archive.name} holds {len(packed.anchors)} CA certificate{plural}, {state}"

    node = env.Command(env.File(str(archive)), [], build.action(env, work, "Packing certificates into $TARGET"))
    env.Precious(node)  # SCons would delete the old archive first, and a failure would leave none
    env.NoCache(node)
    env.AlwaysBuild(node)
    env.Depends(image, node)
    if options.signing_key is not None:
        _check_image(env, image, image_path, secrets)


def _warn_of_filesystem(env: build.Env, options: Settings) -> None:
    """Say that devices with the library cannot read the archive from any other filesystem than LittleFS (F15)."""
    kind = build.filesystem(env)
    if options.product is not None and kind != "littlefs":
        build.warn(
            f"board_build.filesystem is '{kind}', and the OtaSeal library mounts LittleFS: "
            "devices with it find no certificates"
        )


def _check_image(env: build.Env, image: Any, path: Path, secrets: Callable[[], Secrets]) -> None:
    """Search the image before it can be uploaded; every filesystem run builds it, so this happens in each."""

    def work(env: build.Env) -> None:
        from . import signing_key

        signing_key.refuse_in_image(path, secrets())

    env.AddPostAction(image, build.action(env, work, "Looking for the signing key in $TARGET"))


def _guard_over_the_air(env: build.Env, image: Path) -> None:
    """Refuse a filesystem upload over the air that would destroy what is on the device, or send another file."""

    def work(env: build.Env) -> None:
        if build.uploads_over_serial(env):
            if "uploadfsota" in build.requested():
                raise ConfigError(
                    "'uploadfsota' is the platform's own target for uploads over the air: over a serial port it writes "
                    "the filesystem in the place of the firmware",
                    "ship it over the wire with: pio run -t uploadfs",
                )
            return
        over_the_air = build.uploads_over_the_air(env)
        if env.get(build.VERIFY_UPDATES):  # the device erases first and refuses then (F14)
            way = "" if over_the_air else ", as by an upload command that is not esptool's,"
            raise ConfigError(
                f"a filesystem upload over the air{way} erases the certificates, and then the device refuses the image",
                "ship certificates over the wire: pio run -t uploadfs --upload-port <serial port>"
                + (
                    ""
                    if over_the_air
                    else ", with upload_protocol = esptool; or build it with -t buildfs, and write it"
                ),
            )
        if not over_the_air:
            return
        signed = image.with_name(image.name + build.SIGNED_SUFFIX)
        if signed.exists():  # espota takes it for the image's newer self (F31)
            raise ConfigError(
                f"'{signed.name}' lies beside '{image.name}', and espota would send it instead", f"remove '{signed}'"
            )

    for target in {"uploadfs", "uploadfsota"} & build.requested():
        env.AddPreAction(target, build.action(env, work, "Checking the way to the device"))
