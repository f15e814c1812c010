"""`firmware.bin.cdx.json` beside the signed image, with `custom_otaseal_sbom = yes`: what the firmware was built from.

A node of the build, made again when the signed image is. What writes it is imported when it is written.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__, files
from ..errors import InputError
from ..project import source_version
from ..release import attachments
from ..settings import Settings
from . import build, claim, installed

if TYPE_CHECKING:
    from ..release.records import Origin
    from ..sbom.cyclonedx import Product

SUFFIX = ".cdx.json"  # as CycloneDX recommends
_MATTERS = re.compile(r"-(?:O\w*|std=\S+|f[a-z]\S*|m[a-z]\S*|g\w*)")
"""Flags that change the code, and cannot hold a secret. Of macros only the names are listed: projects have passwords
in their values."""


def declare(env: build.Env, options: Settings, firmware: Path, signed: Sequence[Any]) -> None:
    """Declare the SBOM of `firmware` as a node that depends on its `signed` forms, where the project wants one."""
    if options.sbom == "no":
        return
    path = Path(f"{firmware}{SUFFIX}")
    forms = [Path(node.get_abspath()) for node in signed]

    def work(env: build.Env) -> str:
        from ..sbom import cyclonedx

        known = installed.trees(env)
        parts = [*installed.platform_and_packages(env)]
        parts += [installed.with_tree(part, known) for part in installed.libraries(env, parts)]
        known.save()
        data = cyclonedx.document(_product(env, options, forms), parts, _tools(), _made(env, firmware))
        attachments.parse(attachments.SBOM, data)
        files.write_atomic(path, data)
        return f"otaseal: '{path.name}' names {len(parts)} parts of the firmware"

    stamp = [__version__, _name(env, options), _version(env, options)]
    stamp += [f"{library.path} {library.version}" for library in installed.built(env)]
    node = env.Command(
        [env.File(str(path))], [*signed, env.Value("\n".join(stamp))], build.action(env, work, "Listing $TARGET")
    )
    env.NoCache(node)
    env.Alias("buildprog", node)
    env.Depends("upload", node)


def attachment(
    env: build.Env, options: Settings, origin: Origin, images: Mapping[str, Sequence[bytes]]
) -> dict[str, bytes]:
    """Return the SBOM of a release whose signed files are `images`, by environment, where the project wants one.

    Raises InputError where one is missing, or that of another build.
    """
    if options.sbom == "no":
        return {}
    from ..sbom import document

    limit, name = attachments.LIMITS[attachments.SBOM], env.subst("${PROGNAME}.bin") + SUFFIX
    found = {}
    for environment, forms in images.items():
        path = build.path(env, "$PROJECT_BUILD_DIR") / environment / name
        if not path.is_file():
            raise InputError(f"there is no '{environment}/{name}'", "set custom_otaseal_sbom = yes in it, and build")
        data = files.read_bounded(path, limit, "SBOM")
        parsed = document.parse(data)
        if not document.is_of(parsed, forms[0]):
            raise InputError(f"'{environment}/{name}' is that of another firmware", "build again without 'nobuild'")
        found[environment] = parsed
    if len(found) == 1:
        return {attachments.SBOM: data}
    return {attachments.SBOM: document.merged(origin.product, origin.version, found)}


def _product(env: build.Env, options: Settings, forms: Sequence[Path]) -> Product:
    from ..chips.limits import MAX_IMAGE_SIZE
    from ..sbom.cyclonedx import Product

    digests = {
        form.name: hashlib.sha256(files.read_bounded(form, MAX_IMAGE_SIZE, "signed firmware")).hexdigest()
        for form in forms
    }
    state = claim.git_state(env)
    properties = {
        "environment": env["PIOENV"],
        "board": env.subst("$BOARD"),
        "chip": env.BoardConfig().get("build.mcu", ""),
        "commit": "" if state is None else state.commit + ("-dirty" if state.dirty else ""),
        "build_type": env.subst("$BUILD_TYPE"),
        "flags": " ".join(_flags(env)),
        "macros": " ".join(_macros(env)),
    }
    named = {name: value for name, value in properties.items() if value}
    return Product(_name(env, options), _version(env, options), digests, named)


def _flags(env: build.Env) -> list[str]:
    given = [env.subst(str(flag)) for name in ("CCFLAGS", "CFLAGS", "CXXFLAGS") for flag in env.get(name, [])]
    return list(dict.fromkeys(flag for flag in given if _MATTERS.fullmatch(flag)))


def _macros(env: build.Env) -> list[str]:
    given = (one[0] if isinstance(one, tuple | list) else one for one in env.get("CPPDEFINES", []))
    return sorted({str(one).partition("=")[0] for one in given})


def _name(env: build.Env, options: Settings) -> str:
    return options.product or build.path(env, ".").name


def _version(env: build.Env, options: Settings) -> str:
    """Return the version as the manifest has it, "" where nothing says one."""
    state = claim.git_state(env)
    if options.version is None and (state is None or state.fault):
        return ""
    return source_version.version_from(options.version, state)


def _tools() -> dict[str, str]:
    from platformio import __version__ as core

    return {"otaseal": __version__, "platformio": core}


def _made(env: build.Env, firmware: Path) -> datetime:
    """Return SOURCE_DATE_EPOCH, else the commit's time, else when the firmware was made."""
    state = claim.git_state(env)
    when = source_version.source_date(os.environ)
    if when is None:
        when = state.time if state is not None and state.time else int(firmware.stat().st_mtime)
    return datetime.fromtimestamp(when, timezone.utc)
