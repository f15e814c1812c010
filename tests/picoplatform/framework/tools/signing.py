"""The core's own signer: a header out of a public key, and a trailer that openssl makes with a private one.

As the real one, it signs with whatever key it is given, says nothing where there is none, and ends well where openssl
fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def header(key: Path) -> str:
    if not key.is_file():
        return "#define ARDUINO_SIGNING 0\n"
    content = ", ".join(f"0x{byte:02x}" for byte in key.read_bytes())
    return (
        "#include <pgmspace.h>\n#define ARDUINO_SIGNING 1\n"
        f"static const char signing_pubkey[] PROGMEM = {{ {content} }};\n"
    )


def sign(image: Path, key: Path, out: Path) -> None:
    command = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    done = subprocess.run(command, input=image.read_bytes(), capture_output=True, check=False)
    if done.returncode:
        print(f"OpenSSL returned an error: {done.stderr!r}", file=sys.stderr)
        return
    out.write_bytes(image.read_bytes() + done.stdout + b"\x00\x01\x00\x00")
    print(f"Signed binary: {out}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description="the core's own signer")
    parser.add_argument("-m", "--mode", choices=["header", "sign"], required=True)
    parser.add_argument("-b", "--bin", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("-p", "--publickey", type=Path)
    parser.add_argument("-s", "--privatekey", type=Path)
    args = parser.parse_args()
    if args.mode == "header":
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(header(args.publickey))
    elif args.privatekey.is_file():
        sign(args.bin, args.privatekey, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
