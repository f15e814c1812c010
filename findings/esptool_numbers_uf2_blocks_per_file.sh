#!/usr/bin/env bash
# esptool 5.6.0: `merge-bin --format uf2` numbers the blocks of each input from 0, with that input's count as the total, although
# all have one family ID; the UF2 format counts over the whole file. It also puts the MD5 record behind the payload, where the
# format has it in the last 24 bytes of the data field: in an input's last, shorter block the two differ.
# Seen: 3 inputs -> 0..2 of 3, 0..1 of 2, 0..4 of 5 in a file of 10 blocks; the record of a 96-byte payload is at 96, not 452.
# Matters to: boot loaders that count blocks to see that a file is complete (TinyUF2), and readers that check the MD5.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q esptool==5.6.0
for part in boot:1000 table:500 application:2000; do
  head -c "${part#*:}" /dev/zero | tr '\0' "${part:0:1}" >"${part%:*}.bin"
done
venv/bin/esptool --chip esp32s2 merge-bin --format uf2 -o merged.uf2 0x1000 boot.bin 0x8000 table.bin 0x10000 application.bin
venv/bin/python - <<'PYTHON'
import hashlib, struct
from pathlib import Path

image = Path("merged.uf2").read_bytes()
numbers, families, records = [], set(), {}
for start in range(0, len(image), 512):
    _, _, flags, address, length, number, total, family = struct.unpack("<8I", image[start : start + 32])
    data = image[start + 32 : start + 508]
    assert flags == 0x6000
    record = struct.pack("<II", address, length) + hashlib.md5(data[:length]).digest()
    numbers.append((number, total))
    families.add(family)
    records[length] = data.find(record)
print(numbers)
print("payload: position of the MD5 record", records)
assert numbers == [(number, total) for total in (3, 2, 5) for number in range(total)] and len(families) == 1
assert records == {452: 452, 96: 96, 48: 48, 192: 192}
PYTHON
