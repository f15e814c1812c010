#!/usr/bin/env bash
# PlatformIO 6.1.18: a reference to an option that PlatformIO knows and nobody set becomes the text "None"; one to a variable
# that is not set becomes an empty text; only one to an option that PlatformIO does not know is an error.
# Seen: ${env:b.upload_port} -> 'None', ${sysenv.UNSET} -> '', ${env:b.custom_name} -> InvalidProjectConfError.
# Matters to: extra scripts that take an option for set when it is not empty, and upload to a host called None.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q platformio==6.1.18
export PLATFORMIO_CORE_DIR="$folder/core" PLATFORMIO_SETTING_ENABLE_TELEMETRY=no PLATFORMIO_DISABLE_UPGRADE_CHECK=true
unset UNSET
write() {
  printf '[env:a]\nplatform = native\n%s\n[env:b]\nplatform = native\n' "$1" >platformio.ini
}
write $'upload_port = ${env:b.upload_port}\ncustom_user = ${sysenv.UNSET}'
venv/bin/pio project config --json-output | venv/bin/python -c '
import json, sys
options = dict(json.load(sys.stdin)[0][1])
print(options)
assert options["upload_port"] == "None"
assert options["custom_user"] == ""
'
write 'custom_user = ${env:b.custom_name}'
if venv/bin/pio project config 2>error.txt; then exit 1; fi
grep -q InvalidProjectConfError error.txt
