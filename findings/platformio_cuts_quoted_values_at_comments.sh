#!/usr/bin/env bash
# PlatformIO 6.2.0: in platformio.ini " ;" and " #" end a value inside quotes, too, and a line of a multi-line value;
# the opening quote stays in the value. Without a space before it, either character is part of the value.
# Seen: custom_name = "blue ; green" -> '"blue', custom_id = blue;green -> 'blue;green'.
# Matters to: options of extra scripts that hold names, passwords or key URIs (pkcs11:token=a;object=b).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q platformio==6.2.0
cat >platformio.ini <<'INI'
[env:a]
platform = native
custom_name = "blue ; green"
custom_id = blue;green
custom_lines =
  "one # two"
  three#four
INI
export PLATFORMIO_CORE_DIR="$folder/core" PLATFORMIO_SETTING_ENABLE_TELEMETRY=no PLATFORMIO_DISABLE_UPGRADE_CHECK=true
venv/bin/pio project config --json-output | venv/bin/python -c '
import json, sys
[(name, options)] = json.load(sys.stdin)
values = dict(options)
print(values)
assert values["custom_name"] == "\"blue"
assert values["custom_id"] == "blue;green"
assert values["custom_lines"] == "\n\"one\nthree#four"
'
