#!/usr/bin/env bash
# SCons 4.11.1: what an SConscript adds to sys.path in place is gone after it: for the file that called it, for the next
# SConscript, and for the actions of its own commands, which run later.
# Seen: only "first: True"; "caller", "second" and "action" print False.
# Matters to: extra scripts that make their package importable and import it inside an action, or count on an earlier one.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q SCons==4.11.1
cat >SConstruct <<'PYTHON'
import sys
SConscript("first")
print("caller:", "/added" in sys.path)
SConscript("second")
PYTHON
cat >first <<'PYTHON'
import sys
sys.path.append("/added")
print("first:", "/added" in sys.path)

def look(target, source, env):
    print("action:", "/added" in sys.path)

AlwaysBuild(Command("out", [], look))
PYTHON
cat >second <<'PYTHON'
import sys
print("second:", "/added" in sys.path)
PYTHON
venv/bin/scons -Q | tee output
for line in "first: True" "caller: False" "second: False" "action: False"; do
  grep -qxF "$line" output
done
