#!/usr/bin/env bash
# securesystemslib 1.6.0 reads no DSSE envelope whose signatures have no "keyid", and verifies none with another key id than
# the one that its own key object has. DSSE 1.0 has the field as an optional, unauthenticated hint, and says that the
# verifier tries its keys.
# Seen: the same signature by the same key is verified with the key id, raises KeyError without, and is "not matching the
# threshold" with an empty one.
# Matters to: whoever signs envelopes with another tool, or names a key by the fingerprint that his project uses.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q securesystemslib==1.6.0 cryptography==46.0.3
cat >hint.py <<'PYTHON'
import copy

from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

signer = CryptoSigner.generate_ed25519()
signed = Envelope(b"release 1.2.0", "text/plain", {})
signed.sign(signer)
envelope = signed.to_dict()

def verify(title, key_id):
    read = copy.deepcopy(envelope)
    for signature in read["signatures"]:
        if key_id is None:
            del signature["keyid"]
        elif key_id != "own":
            signature["keyid"] = key_id
    try:
        found = Envelope.from_dict(read).verify([signer.public_key], 1)
        print(f"{title}: verified by {len(found)} key")
    except Exception as error:
        print(f"{title}: {type(error).__name__}")

verify("with the key id", "own")
verify("without a key id", None)
verify("with an empty one", "")
PYTHON
venv/bin/python hint.py | tee output
diff output - <<'EXPECTED'
with the key id: verified by 1 key
without a key id: KeyError
with an empty one: VerificationError
EXPECTED
echo "as described"
