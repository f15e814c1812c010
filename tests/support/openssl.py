"""What openssl, which knows nothing of us, says to a signed image. The demo uses it, too, which has no pytest."""

from __future__ import annotations

import subprocess
from pathlib import Path


def accepts(signed: bytes, public_pem: bytes, folder: Path) -> bool:
    """Tell whether the signature in the trailer of `signed` (F1) is good; `folder` takes the files openssl wants."""
    folder.mkdir(exist_ok=True)
    size = int.from_bytes(signed[-4:], "little")
    contents = {"payload": signed[: -4 - size], "signature": signed[-4 - size : -4], "key.pub": public_pem}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "payload"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    """Return what openssl prints; raises CalledProcessError."""
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout
