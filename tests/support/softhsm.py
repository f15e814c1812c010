"""SoftHSM2, the real PKCS#11 module that tests sign with: a directory of tokens, filled with its own tools."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support import peers

PIN = "pin:271828"  # which no digest has in it
SO_PIN = "31415926"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
)


def module() -> str:
    """Return the path of SoftHSM's module, if both it and python-pkcs11 are there."""
    found = [path for path in MODULES if Path(path).is_file()]
    peers.require("SoftHSM", bool(found), "softhsm2")
    peers.require("python-pkcs11", importlib.util.find_spec("pkcs11") is not None, "none: pip install python-pkcs11")
    return found[0]


@dataclass(frozen=True)
class SoftHsm:
    """Tokens in `folder`; a process that has `environment` sees them."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def create(self) -> SoftHsm:
        (self.folder / "tokens").mkdir(parents=True)
        configuration = f"directories.tokendir = {self.folder / 'tokens'}\nobjectstore.backend = file\n"
        (self.folder / "softhsm2.conf").write_text(configuration)
        return self

    def add_token(self, label: str) -> None:
        self._util("--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", SO_PIN)

    def add_key(self, token: str, label: str, id: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        path = self.folder / "import.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self._util("--import", str(path), "--token", token, "--label", label, "--id", id, "--pin", PIN)
        path.unlink()

    def _util(self, *arguments: str) -> None:
        command = [peers.tool("softhsm2-util", "softhsm2"), *arguments]
        subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, check=True)
