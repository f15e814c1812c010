#!/usr/bin/env bash
# esp-idf-nvs-partition-gen 0.3.0: in a CSV file that returns to an earlier namespace, the keys after that row get the index
# of the namespace that was added last. By its documentation they belong to the one that the row names. No error, no warning.
# Seen: wifi: ssid, app: level, wifi again: country -> "country" is stored in "app", where nvs_open("wifi") does not find it.
# Matters to: factory images whose CSV is put together from several sources: the order of its rows decides what a device finds.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q esp-idf-nvs-partition-gen==0.3.0
cat >together.csv <<'CSV'
key,type,encoding,value
wifi,namespace,,
ssid,data,string,network
country,data,string,AT
app,namespace,,
level,data,u8,1
CSV
cat >apart.csv <<'CSV'
key,type,encoding,value
wifi,namespace,,
ssid,data,string,network
app,namespace,,
level,data,u8,1
wifi,namespace,,
country,data,string,AT
CSV
for name in together apart; do
  venv/bin/python -m esp_idf_nvs_partition_gen generate "$name.csv" "$name.bin" 0x3000
done
venv/bin/python - <<'PYTHON'
from pathlib import Path

def keys(image):
    """Each key with the name of its namespace: 32-byte entries from 64 on, of the page's state table those written (0b10)."""
    page = Path(image).read_bytes()[:4096]
    states = int.from_bytes(page[32:64], "little")
    names, found, slot = {}, {}, 0
    while states >> 2 * slot & 3 == 2:
        entry = page[64 + 32 * slot : 96 + 32 * slot]
        key = entry[8:24].rstrip(b"\0").decode()
        if entry[0] == 0:
            names[entry[24]] = key
        else:
            found[key] = entry[0]
        slot += entry[2]
    return {key: names[index] for key, index in found.items()}

together, apart = keys("together.bin"), keys("apart.bin")
print("together:", together)
print("apart:   ", apart)
assert together == {"ssid": "wifi", "country": "wifi", "level": "app"}
assert apart == {"ssid": "wifi", "level": "app", "country": "app"}
PYTHON
