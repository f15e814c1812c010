#!/usr/bin/env bash
# SCons 4.11.1: Value(x) is compared by its text. Value(1) after Value("1"), and Value("b'abc'") after Value(b"abc"), are no
# change, although the action reads another object: the target keeps what the first one wrote.
# Seen: "`out' is up to date" in both second runs; the file holds 1, and the bytes.
# Matters to: build scripts that put an option into a Value so that a change of it rebuilds.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q SCons==4.11.1
cat >SConstruct <<'PYTHON'
import os
values = {"integer": 1, "text": "1", "bytes": b"abc", "text of bytes": "b'abc'"}

def write(target, source, env):
    with open(str(target[0]), "w") as file:
        file.write(repr(source[0].read()))

Command("out", Value(values[os.environ["KIND"]]), write)
PYTHON
build() { KIND="$1" venv/bin/scons -Q out; cat out; echo; }
[ "$(build integer | tail -1)" = 1 ]
build text | tee output
grep -qF "\`out' is up to date." output && grep -qx 1 output
[ "$(build bytes | tail -1)" = "b'abc'" ]
build "text of bytes" | tee output
grep -qF "\`out' is up to date." output && grep -qx "b'abc'" output
