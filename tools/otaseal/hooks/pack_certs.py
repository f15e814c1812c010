"""post: CA certificates become `data/certs.ar` in the moment before the filesystem image is made of that directory.

Packing is the first thing that the image's own action does: what other scripts attach to the image's node comes before
it, and may empty, refill or make the directory. Hooking the alias `buildfs` would come too late, and never for
`uploadfs` (F32). What was made is then read as the device reads it: at once, before it is shipped, and at the end, for
other scripts may change it in between. A device with other certificates does not trust its server, and nothing else
would tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ConfigError, InputError
from ..settings import Settings
from . import build, made_image, platforms

if TYPE_CHECKING:
    from ..certs.certstore import Packed
    from ..keys.secret_scan import Secrets

SHIPPING = frozenset(("uploadfs", "uploadfsota", "uploadall"))


@build.attaching("post")
def attach(env: build.Env, options: Settings) -> None:
    """Put packing and looking into the image's own action, and one more look before every upload of it."""
    if not build.makes_filesystem():
        return
    # Only what follows needs the certificates' rules: a build of the firmware does not pay for importing them.
    from ..certs.packing import ARCHIVE_NAME

    image = build.filesystem_image(env)
    _guard_over_the_air(env, Path(image.get_abspath()))
    built = image.has_builder()
    data = Path(image.sources[0].get_abspath()) if built else build.path(env, "$PROJECT_DATA_DIR")
    run = _Run(env, options, data, Path(image.get_abspath()), built)
    if built:
        pack = build.action(env, run.pack, f"Packing certificates into {data / ARCHIVE_NAME}")
        look = build.action(env, run.look, f"Looking for the certificates in {image.name}")
        executor = image.get_executor()
        executor.set_action_list([pack, *executor.action_list, look])
    again = build.action(env, run.look, None)
    for target in SHIPPING & build.requested():
        env.AddPreAction(target, again)
    for target in {"buildfs", *SHIPPING} & build.requested():
        env.AddPostAction(target, again)


def _warn_of_filesystem(env: build.Env, options: Settings) -> None:
    """Say that devices with the library cannot read the archive from any other filesystem than LittleFS (F15)."""
    kind = build.filesystem(env)
    if options.product is not None and kind != "littlefs":
        build.warn(
            f"board_build.filesystem is '{kind}', and the OtaSeal library mounts LittleFS: "
            "devices with it find no certificates, unless the sketch of an ESP32 gives it another one"
        )


@dataclass
class _Run:
    """One filesystem run: what is packed in it, once, and where it has to arrive.

    `built` is False with `nobuild`. An image that could be built and is not made is none of this run's: a project may
    have a target `uploadall` of its own.
    """

    env: build.Env
    options: Settings
    data: Path
    image: Path
    built: bool
    made: bool = False

    def pack(self, env: build.Env) -> str:
        """Write the archive that the image is about to be made with."""
        from ..certs.packing import ARCHIVE_NAME
        from . import signing_key

        self.made = True
        _warn_of_filesystem(env, self.options)
        for finding in self.packed.findings:
            build.warn(str(finding))
        archive = self.packed.archive
        signing_key.refuse_in_data(self.data, archive, self.image, self.secrets)
        partition = made_image.partition(env)
        changed = files.write_if_changed(self.data / ARCHIVE_NAME, archive)
        made_image.refuse_overfull(self.data, partition)
        count, state = len(self.packed.anchors), "written" if changed else "unchanged"
        return (
            f"otaseal: {ARCHIVE_NAME} holds {count} CA certificate{'' if count == 1 else 's'}, {state}; "
            f"{len(archive)} bytes, for a filesystem of {partition.size}"
        )

    def look(self, env: build.Env) -> None:
        """Refuse an image that lacks the archive, or holds the signing key; an image that was built here is removed."""
        from . import signing_key

        if self.built and not self.made:
            return
        signing_key.refuse_in_image(self.image, self.secrets)
        try:
            made_image.refuse_without(self.image, self.packed.archive, made_image.partition(env))
        except InputError:
            if self.built:
                files.remove(self.image)
            raise

    @cached_property
    def packed(self) -> Packed:
        from ..certs.packing import pack_project

        return pack_project(self.options, self.data, build.path(self.env, "."), datetime.now(timezone.utc))

    @cached_property
    def secrets(self) -> Secrets:
        from ..keys.secret_scan import Secrets
        from . import signing_key

        return Secrets() if self.options.signing_key is None else signing_key.unprompted_secrets(self.env, self.options)


def _guard_unverified(env: build.Env, over_the_air: bool) -> None:
    """Refuse ways on which the filesystem of a Pico or an ESP32 is not that of this build (F13, F72, F77)."""
    if env.get(build.VERIFY_UPDATES):
        raise ConfigError(
            "a filesystem upload over the air is verified by nothing on this core: a device that takes yours takes "
            "anybody's",
            f"ship certificates by cable: pio run -t uploadfs with upload_protocol = {platforms.of(env).protocol}",
        )
    if not over_the_air and env.subst("$UPLOAD_PROTOCOL") == "mbed":
        raise ConfigError(
            "with upload_protocol = mbed, 'uploadfs' copies the firmware's .uf2, and no filesystem",
            "use upload_protocol = picotool",
        )


def _guard_over_the_air(env: build.Env, image: Path) -> None:
    for target in {"uploadfs", "uploadfsota"} & build.requested():
        action = build.action(env, lambda env: _refuse_over_the_air(env, image), "Checking the way to the device")
        env.AddPreAction(target, action)


def _refuse_over_the_air(env: build.Env, image: Path) -> None:
    """Refuse a filesystem upload over the air that would destroy what is on the device, or send another file."""
    if build.uploads_over_serial(env):
        if "uploadfsota" in build.requested():
            raise ConfigError(
                "'uploadfsota' is the platform's own target for uploads over the air: over a serial port it writes "
                "the filesystem in the place of the firmware",
                "ship it over the wire with: pio run -t uploadfs",
            )
        return
    over_the_air = build.uploads_over_the_air(env)
    if platforms.of(env) is not platforms.ESP8266:
        _guard_unverified(env, over_the_air)
    elif env.get(build.VERIFY_UPDATES):  # the device erases first and refuses then (F14)
        way = "" if over_the_air else ", as by an upload command that is not esptool's,"
        raise ConfigError(
            f"a filesystem upload over the air{way} erases the certificates, and then the device refuses the image",
            "ship certificates over the wire: pio run -t uploadfs --upload-port <serial port>"
            + ("" if over_the_air else ", with upload_protocol = esptool; or build it with -t buildfs, and write it"),
        )
    if not over_the_air:
        return
    signed = image.with_name(image.name + build.SIGNED_SUFFIX)
    if signed.exists():  # espota takes it for the image's newer self (F31)
        raise ConfigError(
            f"'{signed.name}' lies beside '{image.name}', and espota would send it instead", f"remove '{signed}'"
        )
