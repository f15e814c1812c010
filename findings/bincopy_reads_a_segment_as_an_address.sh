#!/usr/bin/env bash
# bincopy 20.1.1: an Intel HEX start record of type 03 (segment and offset, 16 bits each) is read as one flat 32-bit address.
# GNU objcopy writes that type for every entry point below 1 MiB, that is, for most chips with flash at address 0.
# Seen: entry 0x4D001 -> ":040000034000D001E8" -> bincopy: 0x4000D001, in S7 and type 05, too; objcopy and intelhex: 0x4D001.
# Matters to: HEX files merged or converted with it for a loader that jumps to the start address.
# Needs: objcopy.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q bincopy==20.1.1 intelhex==2.3.0
printf 'firmware' >firmware.bin
start() { objcopy -I binary -O ihex --change-section-address .data="$1" --set-start "$2" firmware.bin firmware.hex; }
start 0x4C000 0x4D001
grep -qx $':040000034000D001E8\r' firmware.hex
objcopy -I ihex -O srec firmware.hex firmware.srec
grep -x $'S80404D00126\r' firmware.srec
cat >read.py <<'PYTHON'
import sys
import bincopy, intelhex

flat = bincopy.BinFile("firmware.hex")
start = intelhex.IntelHex("firmware.hex").start_addr
entry = start["CS"] * 16 + start["IP"] if "CS" in start else start["EIP"]
print(f"bincopy: {flat.execution_start_address:#x}, intelhex: {entry:#x}", flat.as_srec().split()[-1])
assert entry == int(sys.argv[1], 16) and flat.execution_start_address == int(sys.argv[2], 16)
PYTHON
venv/bin/python read.py 0x4D001 0x4000D001
start 0x1004C000 0x1004D001
venv/bin/python read.py 0x1004D001 0x1004D001
