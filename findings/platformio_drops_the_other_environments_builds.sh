#!/usr/bin/env bash
# PlatformIO 6.2.0: `pio run -e b` first removes the whole build folder, the other environments' results too, if an option
# of any environment has changed, or the list of source and header files in src, include and lib; an edited source is no reason.
# The value of an environment variable in an option, such as ${sysenv.VERSION}, counts as a change.
# Seen: firmware.bin of "a" is gone after `pio run -e b` with a new header, or with another VERSION; after an edit it is there.
# Matters to: releases made of several environments in several runs, and scripts that keep files below .pio/build.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q platformio==6.2.0 SCons==4.11.1
export PLATFORMIO_CORE_DIR="$folder/core" PLATFORMIO_SETTING_ENABLE_TELEMETRY=no PLATFORMIO_DISABLE_UPGRADE_CHECK=true
# A platform that builds a file, and SCons in the place where PlatformIO keeps it.
mkdir -p device/builder core/packages/tool-scons project/src
echo '{"name": "device", "version": "1.0.0", "engines": {"platformio": "^6"}, "packages": {}}' >device/platform.json
cat >device/platform.py <<'PYTHON'
from platformio.platform.base import PlatformBase

class DevicePlatform(PlatformBase):
    pass
PYTHON
cat >device/builder/main.py <<'PYTHON'
from SCons.Script import AlwaysBuild, Default, DefaultEnvironment
env = DefaultEnvironment()
Default(AlwaysBuild(env.Command("$BUILD_DIR/firmware.bin", [], "echo built >$TARGET")))
PYTHON
echo 'import SCons.Script; SCons.Script.main()' >core/packages/tool-scons/scons.py
venv/bin/python - <<'PYTHON'
import json
from pathlib import Path
from platformio.dependencies import get_core_dependencies
about = {"name": "tool-scons", "version": get_core_dependencies()["tool-scons"].lstrip("~")}
spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
package = Path("core/packages/tool-scons")
(package / "package.json").write_text(json.dumps(about))
(package / ".piopm").write_text(json.dumps({"type": "tool", **about, "spec": spec}))
PYTHON
cd project
cat >platformio.ini <<INI
[env]
platform = symlink://$folder/device
[env:a]
custom_version = \${sysenv.VERSION}
[env:b]
INI
echo 'int main(void) { return 0; }' >src/main.c
run() { ../venv/bin/pio run -s -e "$1" >&2; test -s ".pio/build/$1/firmware.bin"; }
report() { if [ -e .pio/build/a/firmware.bin ]; then echo "$1: a is there"; else echo "$1: a is gone"; fi; }
export VERSION=1
{
  run a; run b; report nothing
  echo 'int main(void) { return 1; }' >src/main.c
  run b; report edit
  touch src/new.h
  run b; report header
  run a
  VERSION=2 run b; report variable
} | tee output
diff output - <<'TEXT'
nothing: a is there
edit: a is there
header: a is gone
variable: a is gone
TEXT
