"""Signing keys behind a program: the `command:` scheme, for key services of clouds and whatever else holds a key.

The program is called with the words of the URI and one more: `public-key` prints the public half in PEM; `sign` reads a
SHA-256 (32 bytes) from its standard input and writes the RSASSA-PKCS1-v1_5 signature of it, bytes and nothing else. The
words are no shell's. What it needs to be let in, it finds in its environment.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, SystemFaultError, VerificationError, one_line
from .public import check_rsa, load_public_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SECONDS = 120
"""How long the program may take, for what is a request over the network."""
MAX_ANSWER = 64 * 1024
MAX_REASON = 300


@dataclass(frozen=True)
class CommandSigner:
    """A key behind the program `words[0]`, which runs in the folder `project`; signatures are checked before use."""

    words: tuple[str, ...]
    project: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """What messages call the key."""
        return f"signing key of '{' '.join(self.words)}'"

    @cached_property
    def public_key(self) -> RSAPublicKey:
        """The public half, which the program is asked for once; raises SystemFaultError, KeyRefusedError."""
        key = load_public_key(self._run("public-key"), self.name)
        check_rsa(key, self.name)
        return key

    def sign(self, payload: bytes) -> bytes:
        """Return the signature over `payload`; raises SystemFaultError, VerificationError for a wrong one."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signature = self._run("sign", hashlib.sha256(payload).digest())
        try:
            self.public_key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise VerificationError(
                f"the {self.name} made {len(signature)} bytes that are no signature of its public key",
                "let it sign a SHA-256 with RSASSA-PKCS1-v1_5, and write the bytes alone",
            ) from error
        return signature

    def _run(self, what: str, data: bytes = b"") -> bytes:
        try:
            done = subprocess.run(
                [*self.words, what],
                cwd=self.project,
                env=dict(self.environment),
                input=data,
                capture_output=True,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise SystemFaultError(
                f"the {self.name} does not answer '{what}' within {SECONDS} s", "run it by hand"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"'{self.words[0]}' cannot be run: {error.strerror}",
                "name a program: command:/usr/local/bin/sign-with KEY",
            ) from error
        if done.returncode or len(done.stdout) > MAX_ANSWER:
            said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
            reason = f": {one_line(said)[:MAX_REASON]}" if said else ""
            raise SystemFaultError(
                f"the {self.name} fails at '{what}' with exit code {done.returncode}{reason}", "run it by hand"
            )
        return done.stdout


def open_signer(rest: str, project: Path, environment: Mapping[str, str]) -> CommandSigner:
    """Return a signer for the program that a `command:` URI names; raises ConfigError, and what its key raises."""
    try:
        words = tuple(shlex.split(rest))
    except ValueError as error:
        raise ConfigError(f"'command:{rest[:200]}' has a quote without its other one", "close it") from error
    if not words:
        raise ConfigError("command: names no program", "write command:/usr/local/bin/sign-with KEY")
    signer = CommandSigner(words, project, environment)
    _ = signer.public_key
    return signer
