"""What arduino-pico's builder does of itself with keys that lie among the sources, and why it must not here.

It signs with `src/private.key` whatever it builds, and puts the header of `src/public.key` before every other one: two
owners of one file, and a key in the place where git looks first (F70).
"""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError, KeyRefusedError
from ..keys.public import FIRST_KEY_HINT
from . import build, platforms


def refuse_private_key(env: build.Env) -> None:
    """Raise KeyRefusedError for a private key that the platform's builder would sign with."""
    path = build.path(env, "$PROJECT_SRC_DIR") / "private.key"
    if platforms.of(env).signs and path.exists():
        raise KeyRefusedError(
            f"a private key lies among the sources: '{path}', and the platform's own builder signs with it",
            "move it out of the project, and name it: custom_otaseal_signing_key = file:<path>; if git has ever had "
            "it, replace it (docs/rotation.md)",
        )


def refuse_public_key(env: build.Env) -> None:
    """Raise ConfigError for a public key whose header the platform's builder puts before the one of verify_updates."""
    path = build.path(env, "$PROJECT_SRC_DIR") / "public.key"
    if platforms.of(env).signs and path.exists():
        raise ConfigError(
            f"the platform's own builder compiles in the public key '{path}', in the place of the project's",
            f"remove it: verify_updates.py takes the key from the options; {FIRST_KEY_HINT}",
        )


def take_over(node: Any) -> None:
    """Take a node that the platform has declared away from its builder, so that it can be declared again."""
    if node.has_builder():
        node.builder_set(None)
        node.set_explicit(False)
        node.sources, node.sources_set = [], set()
