#!/usr/bin/env bash
# esptool 5.0.2: `image-info` of an ESP8266 Arduino firmware (boot loader, filler up to 0x1000, application) reads the first
# image and ends: the application's segments are not listed, and its checksum is not looked at.
# Seen: "Segments: 1" and "(valid)", exit code 0, for a file whose application has a flipped bit.
# Matters to: scripts that check a build or a download with it before it is shipped.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q esptool==5.0.2
venv/bin/python - <<'PYTHON'
import struct
from pathlib import Path

def image(entry, *segments):
    data, checksum = bytes([0xE9, len(segments), 2, 0x40]) + struct.pack("<I", entry), 0xEF
    for address, content in segments:
        data += struct.pack("<II", address, len(content)) + content
        for byte in content:
            checksum ^= byte
    return data + bytes((15 - len(data)) % 16) + bytes([checksum])

boot = image(0x4010F000, (0x4010F000, bytes(range(256))))
application = image(0x40100004, (0x40100000, bytes(64)), (0x3FFE8000, b"data" * 16))
firmware = bytearray(boot.ljust(0x1000, b"\xAA") + application)
Path("good.bin").write_bytes(firmware)
Path("application.bin").write_bytes(application)
firmware[0x1000 + 30] ^= 1
Path("damaged.bin").write_bytes(firmware)
Path("damaged_application.bin").write_bytes(firmware[0x1000:])
PYTHON
look() { venv/bin/esptool --chip esp8266 image-info "$1"; }
look application.bin >alone.txt && grep -qx "Segments: 2" alone.txt && grep -q "^Checksum: .*(valid)" alone.txt
look damaged_application.bin >alone.txt || true
grep -q "^Checksum: .*(invalid" alone.txt
for file in good.bin damaged.bin; do
  look "$file" | tee whole.txt
  grep -qx "Segments: 1" whole.txt && grep -q "^Checksum: .*(valid)" whole.txt
done
