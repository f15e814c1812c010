#!/usr/bin/env bash
# zopfli 0.4.3 and zopflipy 1.14 both install the import package "zopfli". pip installs one over the other without a word,
# both stay listed as installed, and zopfli.gzip.compress, which worked with the first alone, raises AttributeError.
# Seen: "module 'zopfli' has no attribute '__COMPRESSOR_DOCSTRING__'"; after removing zopflipy, zopfli cannot be used at all.
# Matters to: a check for the module's name that means one of the two packages.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
call='import zopfli.gzip, zlib; print(len(zlib.decompress(zopfli.gzip.compress(b"a" * 100), 31)))'
venv/bin/pip install -q zopfli==0.4.3
[ "$(venv/bin/python -c "$call")" = 100 ]
venv/bin/pip install -q zopflipy==1.14
venv/bin/pip list 2>/dev/null | grep -c '^zopfli' | grep -qx 2
venv/bin/pip check
if venv/bin/python -c "$call" 2>error; then exit 1; fi
tail -1 error
grep -q "^AttributeError: .*__COMPRESSOR_DOCSTRING__" error
venv/bin/pip uninstall -q -y zopflipy
if venv/bin/python -c "$call" 2>error; then exit 1; fi
tail -1 error
