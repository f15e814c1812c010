#!/usr/bin/env bash
# pycose 1.1.0 asks for any cbor2, and decodes no message with cbor2 6: that gives what stands in a tag as tuple and frozendict,
# and pycose takes a message for one only if it is a list. cbor2 5.9.0 gives a list and a dict there, as 6 does outside of a tag.
# Seen: a COSE_Sign1 that it has just encoded: True with cbor2 5.9.0; "Bytes cannot be decoded as COSE message" with 6.3.0.
# Matters to: tools that verify COSE (SUIT manifests, EAT, CWT) and pin pycose alone: the error is that of a damaged message.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >cose.py <<'PYTHON'
import cbor2
from pycose.keys import EC2Key
from pycose.messages import Sign1Message

key = EC2Key.generate_key(crv="P_256")
message = Sign1Message(phdr={1: -7}, payload=b"manifest", key=key)
encoded = message.encode()
inside, outside = cbor2.loads(cbor2.dumps(cbor2.CBORTag(1000, [{}]))).value, cbor2.loads(cbor2.dumps([{}]))
print(*(type(one).__name__ for one in (inside, inside[0], outside, outside[0])))
try:
    decoded = Sign1Message.decode(encoded)
    decoded.key = key
    print(decoded.verify_signature())
except TypeError as error:
    print(error)
PYTHON
for version in 5.9.0 6.3.0; do
  python3 -m venv "venv-$version"
  "venv-$version/bin/pip" install -q pycose==1.1.0 "cbor2==$version"
  "venv-$version/bin/python" cose.py | tee "out-$version"
done
diff out-5.9.0 - <<<$'list dict list dict\nTrue'
diff out-6.3.0 - <<<$'tuple frozendict list dict\nBytes cannot be decoded as COSE message'
