#!/usr/bin/env bash
# PlatformIO 6.2.0 makes three numbers of a library's version: the rest is build metadata, which says nothing of the order,
# and of a version that begins with "v" everything is. No warning is given.
# Seen: 2.0.0.1 -> 2.0.0+1 and 2.0.0.rc1 -> 2.0.0+rc1, which "=2.0.0" takes; v2.0 -> 0.0.0+v2.0, which "^2.0" does not.
# Matters to: libraries with such versions (Nanopb 0.4.9.1): a fix is no update, a candidate passes for the release, and a library
# that is there is not found by another one's dependency. Inventories made of what PlatformIO notes have versions of nobody.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export PLATFORMIO_CORE_DIR="$folder/core" PLATFORMIO_SETTING_ENABLE_TELEMETRY=no
python3 -m venv venv
venv/bin/pip install -q platformio==6.2.0
cat >install.py <<'PYTHON'
from pathlib import Path

from platformio.package.manager.library import LibraryPackageManager

for version in ("2.0", "2.0.0.1", "2.0.0.rc1", "v2.0"):
    folder = Path(version, "Dial").resolve()
    folder.mkdir(parents=True)
    (folder / "library.properties").write_text(f"name=Dial\nversion={version}\nauthor=Ada\nsentence=A dial\n")
    (folder / "Dial.h").write_text("")
    libraries = LibraryPackageManager(str(Path(version, "installed").resolve()))
    noted = libraries.install(f"file://{folder}").metadata.version
    found = [asked for asked in ("=2.0.0", "^2.0") if libraries.get_package(f"Dial@{asked}")]
    print("noted:", version, "->", noted, *found)
PYTHON
venv/bin/python install.py | grep '^noted' | tee out
diff out - <<'EXPECTED'
noted: 2.0 -> 2.0.0 =2.0.0 ^2.0
noted: 2.0.0.1 -> 2.0.0+1 =2.0.0 ^2.0
noted: 2.0.0.rc1 -> 2.0.0+rc1 =2.0.0 ^2.0
noted: v2.0 -> 0.0.0+v2.0
EXPECTED
