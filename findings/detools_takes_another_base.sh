#!/usr/bin/env bash
# detools 0.53.0: a patch carries nothing about the file it was made from. Applied to another one it writes a file of the
# announced length with wrong content, and reports success; only the length and the patch's own structure are checked.
# Seen: heatshrink, lzma and none alike: apply_patch returns 4011, the bytes differ from what the patch was made for.
# Matters to: delta updates, where a device that runs something else than the server thinks must notice before it writes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q detools==0.53.0
venv/bin/python - <<'PYTHON'
import io, random
import detools

random.seed(1)
old = random.randbytes(4000)
new, another = old[:1000] + b"hello world" + old[1000:], random.randbytes(4000)
for compression in ("heatshrink", "lzma", "none"):
    patch, right, wrong = io.BytesIO(), io.BytesIO(), io.BytesIO()
    detools.create_patch(io.BytesIO(old), io.BytesIO(new), patch, compression=compression)
    patch.seek(0)
    detools.apply_patch(io.BytesIO(old), patch, right)
    patch.seek(0)
    size = detools.apply_patch(io.BytesIO(another), patch, wrong)
    print(compression, "returned", size, "equal:", wrong.getvalue() == new)
    assert right.getvalue() == new
    assert size == len(wrong.getvalue()) == len(new) == 4011 and wrong.getvalue() != new
PYTHON
