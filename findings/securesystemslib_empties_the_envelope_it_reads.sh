#!/usr/bin/env bash
# securesystemslib 1.6.0: dsse.Envelope.from_dict removes the signatures from the dictionary it is given. What the caller stores
# or sends afterwards has "signatures": [{}], and reading the same dictionary again raises KeyError('sig').
# Seen: from_dict, verify (passes), json.dumps of the dictionary: no keyid, no sig; payload and payloadType are untouched.
# Matters to: whoever verifies an attestation and passes it on, or checks it against two policies in turn.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q securesystemslib==1.6.0 cryptography==50.0.2
venv/bin/python - <<'PYTHON'
import copy, json
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

signer = CryptoSigner.generate_ecdsa()
envelope = Envelope(b'{"version": 1}', "application/json", {})
envelope.sign(signer)
sent = envelope.to_dict()
received = copy.deepcopy(sent)
assert list(Envelope.from_dict(received).verify([signer.public_key], 1)) == [signer.public_key.keyid]
print(json.dumps(received))
assert received == {**sent, "signatures": [{}]}
try:
    Envelope.from_dict(received)
except KeyError as error:
    print("read again:", repr(error))
    assert error.args == ("sig",)
else:
    raise AssertionError("it could be read again")
PYTHON
