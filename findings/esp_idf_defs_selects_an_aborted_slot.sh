#!/usr/bin/env bash
# esp-idf-defs 0.1.7: OtaDataSelectEntry.select() takes the entry with the higher sequence number whatever its state.
# ESP-IDF's bootloader skips entries marked ABORTED or INVALID: after a rollback the chip runs the other slot.
# Seen: entries (1, VALID) and (2, ABORTED) -> slot 1 is selected; the bootloader boots slot 0.
# Matters to: tools that read otadata to say which slot a device runs.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q esp-idf-defs==0.1.7
venv/bin/python - <<'PYTHON'
from esp_idf_defs.otadata import OtaDataSelectEntry, OtaImageState

kept, failed = OtaDataSelectEntry(1, OtaImageState.VALID), OtaDataSelectEntry(2, OtaImageState.ABORTED)
read = [OtaDataSelectEntry.from_bytes(entry.to_bytes()) for entry in (kept, failed)]
assert read == [kept, failed]
selected, name = OtaDataSelectEntry.select(*read)
print("selected", name, selected, "slot", selected.ota_slot(2))
assert (name, selected.ota_state, selected.ota_slot(2)) == ("b", OtaImageState.ABORTED, 1)
PYTHON
