#!/usr/bin/env bash
# cyclonedx-python-lib 11.12.0 gives each component without a `bom_ref` a new random one at every output: the same Bom,
# written twice, is two different documents, although serial number and timestamp stay as they are. Components that two
# such documents have in common cannot be told by their references, and neither can their dependencies.
# Seen: the second output differs from the first; with bom_refs of one's own both are equal byte for byte.
# Matters to: an SBOM that is signed, or compared from one release to the next.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q cyclonedx-python-lib==11.12.0
cat >twice.py <<'PYTHON'
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6

def bom(named):
    made = Bom()
    for name in ("ArduinoJson", "PubSubClient"):
        reference = name if named else None
        made.components.add(Component(name=name, version="1.0.0", type=ComponentType.LIBRARY, bom_ref=reference))
    return made

for named in (False, True):
    one = bom(named)
    first, second = (JsonV1Dot6(one).output_as_string() for _ in range(2))
    print("named" if named else "unnamed", first == second)
PYTHON
venv/bin/python twice.py | tee output
diff output - <<'EXPECTED'
unnamed False
named True
EXPECTED
