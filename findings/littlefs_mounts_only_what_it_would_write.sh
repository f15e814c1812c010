#!/usr/bin/env bash
# littlefs-python 0.19.0: an image is mounted only by a driver of the same or a later disk version, and with a name limit
# that is at least the one of the image. It writes disk version 2.1 and 255 itself, which a driver of version 2.0 (the
# ESP8266 core's, with a limit of 32) refuses; many such drivers then format, and the files are gone.
# Seen: 2.1 -> "LFS_ERR_INVAL" with disk_version=0x00020000; 2.0 with name_max 255 -> LFS_ERR_INVAL with name_max=32.
# Matters to: whoever makes a filesystem image on a computer and only looks at it there.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q littlefs-python==0.19.0
venv/bin/python - <<'PYTHON'
from littlefs import LittleFS, LittleFSError

def image(**options):
    fs = LittleFS(block_size=4096, block_count=16, **options)
    with fs.open("certs.ar", "w") as file:
        file.write("!<arch>\n")
    return bytearray(fs.context.buffer)

def mount(content, **options):
    fs = LittleFS(block_size=4096, block_count=16, mount=False, **options)
    fs.context.buffer = content
    try:
        fs.mount()
    except LittleFSError as error:
        return str(error)
    return fs.listdir("/")

old = {"disk_version": 0x00020000}
seen = {
    "as it comes, by itself": mount(image()),
    "as it comes, by 2.0": mount(image(), **old),
    "2.0, by 2.0": mount(image(**old), **old),
    "2.0, by 2.0 with 32": mount(image(**old), name_max=32, **old),
    "2.0 with 32, by 2.0 with 32": mount(image(name_max=32, **old), name_max=32, **old),
}
for case, result in seen.items():
    print(f"{case}: {result}")
refused = [case for case, result in seen.items() if "LFS_ERR_INVAL" in result]
assert refused == ["as it comes, by 2.0", "2.0, by 2.0 with 32"]
assert all(result == ["certs.ar"] for case, result in seen.items() if case not in refused)
PYTHON
