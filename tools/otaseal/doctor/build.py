"""What platformio.ini says and what the last build left behind: options, hooks, firmware, signed image, manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..chips import esp8266
from ..chips.esp8266 import Esp8266Image
from ..chips.families import FAMILY_OF
from ..errors import InputError, VerificationError
from ..image import inspection
from ..project import boards, partitions
from ..project.boards import FILESYSTEM, FILESYSTEM_SIZE, PICO_SIZE
from ..project.config import entries
from ..project.ini import HOOKS, split_script
from ..project.project import Project
from ..settings import OPTIONS, Settings
from .keys import expected_key
from .report import CheckResult, Subject, advice, ok, problem, skipped, warning

MAX_SOURCES = 20_000
NEEDED = ("pre:verify_updates.py", "post:sign_firmware.py")
"""Without the others a project may well be as somebody wants it: each works alone."""


def options(subject: Subject) -> Iterator[CheckResult]:
    """Resolve every option: a misspelt one is an error by name."""
    project = subject.project
    chosen = f"[env:{project.environment}] of {project.folder / 'platformio.ini'}"
    given = [option for option in OPTIONS.values() if project.get(option.ini_name)]
    _ = project.settings  # raises ConfigError by name
    yield ok(f"{chosen}: {len(given)} of {len(OPTIONS)} options set, all known")
    obstacle = boards.obstacle(project.get)
    if obstacle:
        yield problem(obstacle, "name another environment with --env")
    if project.family is not None and project.family.unverified:
        yield from _verified_by_the_library(project.settings)
    for name in project.unset:
        yield warning(
            f"platformio.ini refers to the environment variable '{name}', which is not set here and so counts as empty",
            "set it as it is set where the project is built",
        )


def _verified_by_the_library(settings: Settings) -> Iterator[CheckResult]:
    """Look at the options for a chip whose core verifies nothing (F77)."""
    if settings.product is None:
        yield problem(
            "custom_otaseal_product is not set: the OtaSeal library needs it, and nothing else verifies on this chip",
            "otaseal init names one",
        )
    if settings.compress != "no":
        chosen = f"custom_otaseal_compress is '{settings.compress}'"
        yield problem(f"{chosen}, and nothing on this chip unpacks an update", "set it to no")
    if settings.unverified_updates == "allow":
        yield warning(
            "custom_otaseal_unverified_updates is 'allow': beside the library, a device may take updates from anybody",
            "remove it, and see whether the build names such a way",
        )


def hooks(subject: Subject) -> Iterator[CheckResult]:
    """Look which of the four scripts are attached."""
    project = subject.project
    attached = project.get("extra_scripts") or ""
    missing = [hook for hook in HOOKS if not _is_attached(hook, attached)]
    if len(missing) == len(HOOKS):
        yield problem(
            "no script of otaseal is attached", "otaseal init adds them, otaseal config --extra-scripts shows them"
        )
        return
    yield ok(f"{len(HOOKS) - len(missing)} of {len(HOOKS)} attached")
    for hook in missing:
        say = warning if hook in NEEDED else advice
        yield say(f"'{hook}' is not attached: {HOOKS[hook]}", "otaseal config --extra-scripts prints the line")


def filesystem(subject: Subject) -> Iterator[CheckResult]:
    """Compare the flash's parts with what certificates need (F15), and updates on an ESP32 (F92) and a Pico (F55)."""
    project = subject.project
    if project.one_slot:
        yield problem(partitions.NO_ROOM.format(project.one_slot), partitions.ADVICE)
    if project.family is boards.PICO:
        size = project.get(FILESYSTEM_SIZE)
        if project.filesystem:
            yield ok(f"{FILESYSTEM_SIZE} = {size}")
        else:
            yield problem(
                f"{FILESYSTEM_SIZE} is {size or 'not set'}: certificates and updates have no place",
                f"set {FILESYSTEM_SIZE} = {PICO_SIZE}, then -t uploadall by cable",
            )
    elif project.filesystem == "littlefs":
        yield ok(f"{FILESYSTEM} = littlefs{'' if project.get(FILESYSTEM) else ', the default of the platform'}")
    else:
        chosen = project.get(FILESYSTEM)
        shown = chosen or f"not set, and the platform's default is {project.filesystem}"
        yield problem(f"{FILESYSTEM} is {shown}", f"set {FILESYSTEM} = littlefs, then -t uploadfs by cable")


def firmware(subject: Subject) -> Iterator[CheckResult]:
    """Look at the built image: whole, for which core and flash, and no older than what it is made of."""
    project, built = subject.project, subject.built
    if built is None:
        yield warning(f"'{_shown(project, project.firmware)}' is not built yet", f"pio run -e {project.environment}")
        return
    parsed = built.image
    mode = "unknown flash mode" if parsed.flash_mode is None else parsed.flash_mode.name
    size = "unknown size" if parsed.flash_size is None else f"{parsed.flash_size // 1024} KiB"
    built_for = f"core {parsed.core_release or 'unknown'}, {mode}, flash of {size}"
    yield ok(f"{len(built.raw)} bytes, {built_for if isinstance(parsed, Esp8266Image) else parsed.chip}")
    for fault in parsed.faults():
        yield problem(fault, "build again: it was changed afterwards")
    if FAMILY_OF[parsed.chip].unverified and built.identity is None:
        yield problem(
            f"it has no OtaSeal library, and nothing else verifies updates on the chip '{parsed.chip}'",
            "use the library in the sketch: #include <OtaSeal.h>",
        )
    newer = _newer_source(project, project.firmware.stat().st_mtime)
    if newer is not None:
        yield warning(f"'{newer}' is newer than the firmware", f"build again: pio run -e {project.environment}")


def signed(subject: Subject) -> Iterator[CheckResult]:
    """Verify the signed image as devices of each core will, and compare it with the firmware beside it."""
    project, built, signed_image = subject.project, subject.built, subject.signed
    if signed_image is None:
        yield skipped(f"there is no '{_shown(project, subject.signed_path)}'")
        return
    from ..image import signing

    if built is None or not signing.belongs_to(signed_image, built):
        raise InputError(
            f"'{subject.signed_path.name}' is not the signed form of the firmware beside it", "build again"
        )
    data = signed_image.data
    key = expected_key(project)
    if key is None or project.settings.next_public_key is not None:
        yield skipped("which key signed it cannot be said without the public one")
        return
    report = inspection.inspect(data, {"project": key})
    if report.signed_by is None:
        raise VerificationError("the signed image was not signed with the project's key", "build again")
    if not report.outcomes:
        yield ok(f"{len(data)} bytes, signed by the project's key")
        return
    yield from _taken(report, len(data))
    size = report.image.flash_size if report.image else None
    if size is not None and 2 * esp8266.sectors(len(data)) > size:
        yield problem(
            f"two images of {len(data)} bytes have no place in {size // 1024} KiB of flash",
            "make the firmware smaller, or compress it",
        )


def _taken(report: inspection.Inspection, size: int) -> Iterator[CheckResult]:
    """Say which cores take the signed image of `size` bytes, and why those do not that have to."""
    refused = {core: outcome for core, outcome in report.outcomes.items() if not (outcome.accepted and outcome.boots)}
    cores = [core for core in report.outcomes if core not in refused]
    yield ok(f"{size} bytes, signed by the project's key, taken by {inspection.devices(cores)}")
    by_library = report.image is not None and FAMILY_OF[report.image.chip].unverified
    if refused and (by_library or not cores):
        core, outcome = next(iter(refused.items()))
        yield problem(f"{inspection.devices([core])} refuses it: {outcome.reason}", "build again")


def manifest(subject: Subject) -> Iterator[CheckResult]:
    """Read the manifest in the signed image: whose it is, and which counter."""
    project, product = subject.project, subject.project.settings.product
    if subject.signed is None:
        yield skipped("nothing is signed")
        return
    attached = subject.signed.manifest
    if attached is None and product is None:
        yield skipped("custom_otaseal_product is not set, so that the image has none; stock devices need none")
    elif attached is None:
        yield warning("the signed image has no manifest", f"build again: pio run -e {project.environment}")
    elif product is not None and not attached.is_for(product, project.board):
        yield problem(f"the manifest is not for product '{product}' on '{project.board}'", "build again")
    else:
        yield ok(f"version '{attached.version}', security counter {attached.counter}")


def _is_attached(hook: str, attached: str) -> bool:
    scope, _, name = hook.partition(":")
    scripts = map(split_script, entries(attached))
    return any(where == scope and path.rpartition("/")[2] == name for where, path in scripts)


def _newer_source(project: Project, built: float) -> str | None:
    """Return a source file that is younger than the build, None if there is none among the first MAX_SOURCES."""
    count = 0
    for folder in project.sources:
        for directory, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                count += 1
                path = Path(directory, name)
                if count > MAX_SOURCES or (path.is_file() and path.stat().st_mtime > built):
                    return None if count > MAX_SOURCES else _shown(project, path)
    return None


def _shown(project: Project, path: Path) -> str:
    return str(path.relative_to(project.folder)) if path.is_relative_to(project.folder) else str(path)
