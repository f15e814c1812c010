"""pre: the public key becomes `Updater_Signing.h`, which makes the core itself verify every update (F5).

Where a product is named, `OtaSealBuild.h` beside it tells the OtaSeal library what this firmware is; the library is
found without being copied or installed.

The generated directory goes to the front of CPPPATH before the platform's builder runs: libraries get clones of this
environment, and the core's verifier lives half in a library. On the ESP32 no core reads `Updater_Signing.h`: there the
library verifies, and what is linked beside it is looked at. Nothing of the framework is edited. The firmware of
`pio test` is left alone: with half of the verifier in ESP8266WiFi, a test that does without Wi-Fi would not link.
"""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__, files
from ..errors import ConfigError
from ..image import build_header
from ..keys.public import FIRST_KEY_HINT, fingerprint, short_fingerprint
from ..settings import Settings
from . import build, claim, firmware_key, linked_updaters, own_signing, platforms

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..image.manifest import Claim

UNVERIFIED = "a filesystem that is sent to it over the air is verified by nothing"
"""What of an update arduino-pico's own verifier leaves out (F13)."""


@build.attaching("pre")
def attach(env: build.Env, options: Settings) -> None:
    """Declare the header and put its directory where the core's two halves find it before the core's own."""
    _refuse_without_key(options)
    if build.is_test():
        return
    own_signing.refuse_private_key(env)
    own_signing.refuse_public_key(env)
    if not platforms.of(env).verifier:
        _refuse_without_product(options)
        linked_updaters.attach(env, options)
    header, own = _headers(env)
    env.Prepend(CPPPATH=[str(header.parent)])
    _put_before_libraries(env, header)
    env[build.VERIFY_UPDATES] = True
    build_claim = claim.for_build(env, options)
    _offer_library(env)
    atexit.register(_explain_link_failure, env)
    made = ((header, bool(platforms.of(env).verifier)), (own, build_claim is not None))
    node = env.Command(
        [env.File(str(path)) for path, is_made in made if is_made],
        [env.Value(f"{__version__} {firmware_key.identity(env, options)} {build_claim}")],
        build.action(env, lambda env: _write_headers(env, options, build_claim), "Generating $TARGET"),
    )
    env.Precious(node)  # SCons would delete it first, and a rewritten header costs a compilation
    env.NoCache(node)


def _headers(env: build.Env) -> tuple[Path, Path]:
    """Return where the core's header and the library's one are generated."""
    directory = build.path(env, "$BUILD_DIR") / "otaseal"
    return directory / "Updater_Signing.h", directory / build_header.NAME


def _write_headers(env: build.Env, options: Settings, build_claim: Claim | None) -> str:
    """Generate what the compiler is to read, and return the line that says whose updates the firmware takes."""
    from ..image.signing_header import render

    header, own = _headers(env)
    key = firmware_key.load(env, options)
    if platforms.of(env).verifier:
        files.write_if_changed(header, render(key).encode())
    if build_claim is None:
        files.remove(own)
        return _line(env, key, None)
    claim.warn_of_git(env)
    current = firmware_key.load_current(env, options)
    content = build_header.render(build_claim, current, firmware_key.load_next(env, options))
    files.write_if_changed(own, content.encode())
    return _line(env, key, current)


def _refuse_without_key(options: Settings) -> None:
    if options.public_key is None and options.signing_key is None:
        raise ConfigError(
            "verify_updates.py has no key: neither custom_otaseal_signing_key nor custom_otaseal_public_key is set",
            f"set custom_otaseal_signing_key = file:<path>; {FIRST_KEY_HINT}",
        )


def _refuse_without_product(options: Settings) -> None:
    if options.product is None:
        raise ConfigError(
            "custom_otaseal_product is not set, and on the ESP32 the OtaSeal library verifies updates, which needs it",
            "name the product; or leave out verify_updates.py, and the firmware verifies nothing",
        )


def _put_before_libraries(env: build.Env, header: Path) -> None:
    """Put the header before that of the updater's own library, whose directory comes first in CPPPATH (F71).

    SCons does not see what flags make a compiler read: the sources that include the header are told to depend on it.
    """
    patterns = platforms.of(env).updater
    if patterns:
        env.Prepend(CCFLAGS=["-I", str(header.parent)])

    def depend(env: build.Env, node: Any) -> Any:
        objects = env.Object(node)
        env.Depends(objects, str(header))
        return objects

    for pattern in patterns:
        env.AddBuildMiddleware(depend, pattern)


def _line(env: build.Env, key: RSAPublicKey, current: RSAPublicKey | None) -> str:
    """Return whose updates the firmware takes that carries `key`; `current` signs, and the library holds it, too.

    Whether the sketch uses the library is not known before it is compiled.
    """
    both = current is not None and fingerprint(current) != fingerprint(key)
    stock = f"this firmware takes only updates signed with {short_fingerprint(key)}"
    library = f"those signed with {short_fingerprint(current or key)}"
    if not platforms.of(env).verifier:
        second = f", and {library}" if both else ""
        return f"otaseal: with the OtaSeal library {stock}{second}"
    line = f"without the OtaSeal library {stock}; with it, {library}, too" if both else stock
    return f"otaseal: {line}" if platforms.of(env) is platforms.ESP8266 else f"otaseal: {line}; {UNVERIFIED}"


def _offer_library(env: build.Env) -> None:
    """Let `#include <OtaSeal.h>` find the library of this very otaseal, from a checkout or an installed package."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "firmware", package.parent.parent / "firmware"):
        if folder.is_dir():
            env.Append(LIBSOURCE_DIRS=[str(folder)])
            return


def _explain_link_failure(env: build.Env) -> None:
    """Say why a sketch without Wi-Fi does not link: the linker's own message names a symbol that nobody knows (F5)."""
    from SCons.Script import GetBuildFailures

    program = build.path(env, "$PROGPATH")
    failed = any(str(failure.node) and build.path(env, str(failure.node)) == program for failure in GetBuildFailures())
    verifier = platforms.of(env).verifier
    if failed and verifier and not any(program.parent.glob(f"lib*/lib{verifier}.a")):
        build.print_error(
            env,
            ConfigError(
                f"the firmware does not link, and the core's verifier lives in {verifier}, which is not used",
                f"add #include <{verifier}.h> to the sketch, or leave out verify_updates.py",
            ),
        )
