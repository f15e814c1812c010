#!/usr/bin/env bash
# heatshrink2 0.15.0: a stream does not say with which window it was made, and nothing notices: decoded
# with another window_sz2 it yields other bytes, of another length, without an error.
# Seen: 13120 bytes compressed with window 10 decode with window 8 to 8714 other bytes.
# Matters to: whoever stores such streams or hands them to a device with its window compiled in.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q heatshrink2==0.15.0
venv/bin/python - <<'PYTHON'
import heatshrink2

data = (b"abcdefgh" * 50 + bytes(range(256))) * 20
stream = heatshrink2.compress(data, window_sz2=10, lookahead_sz2=4)
assert heatshrink2.decompress(stream, window_sz2=10, lookahead_sz2=4) == data
other = heatshrink2.decompress(stream, window_sz2=8, lookahead_sz2=4)
print(len(data), "bytes in, with another window", len(other), "bytes out, equal:", other == data)
assert len(data) == 13120 and len(other) == 8714 and other != data[:8714]
PYTHON
