#!/usr/bin/env bash
# in-toto-attestation 0.9.3 keeps the predicate of a statement in a Struct of protobuf, whose numbers are all doubles: an
# integer comes out as a float, and one above 2 to the 53rd as another number.
# Seen: read and written again, {"bytes": 424242, "run": 9007199254740993} is {"bytes": 424242.0, "run": 9007199254740992.0}.
# Matters to: who puts sizes or numbers of CI runs into a statement, compares predicates, or writes one again that was signed.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q in-toto-attestation==0.9.3 protobuf==6.33.1
cat >statement.py <<'PYTHON'
import json
import re

from google.protobuf.json_format import MessageToJson, Parse
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message

said = json.dumps(
    {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "firmware.bin", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://example.com/build/v1",
        "predicate": {"bytes": 424242, "run": 9007199254740993},
    }
)
statement = Statement.copy_from_pb(Parse(said, Message()))
statement.validate()
written = MessageToJson(statement.pb, indent=None)
print({name: re.search(f'"{name}": ([^,}}]+)', written)[1] for name in ("bytes", "run")})
PYTHON
out="$(venv/bin/python statement.py)"
echo "$out"
[ "$out" = "{'bytes': '424242.0', 'run': '9007199254740992.0'}" ]
