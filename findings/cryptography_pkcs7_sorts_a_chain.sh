#!/usr/bin/env bash
# cryptography 50.0.2: certificates in a PKCS#7 file are a SET OF, which DER sorts by its encoding, shortest first where
# lengths differ: serialize_certificates([leaf, intermediate, root]) comes back as root, intermediate, leaf.
# Seen: leaf with the longest encoding goes last; the order of the chain is lost, in DER and in PEM.
# Matters to: whoever takes the first certificate of a .p7b for the server's, or sends it to a device as a chain.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q cryptography==50.0.2
venv/bin/python - <<'PYTHON'
from datetime import datetime, timedelta, timezone
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

now = datetime(2026, 1, 1, tzinfo=timezone.utc)

def issue(subject, issuer, key, signer):
    name = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), 1, now, now + timedelta(999))
    return builder.sign(signer, hashes.SHA256())

root, intermediate, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
chain = [
    issue("update server with a long name of its own", "intermediate", leaf, intermediate),
    issue("intermediate", "root", intermediate, root),
    issue("root", "root", root, root),
]
for encoding, load in ((Encoding.DER, pkcs7.load_der_pkcs7_certificates), (Encoding.PEM, pkcs7.load_pem_pkcs7_certificates)):
    loaded = load(pkcs7.serialize_certificates(chain, encoding))
    print([certificate.subject.rfc4514_string() for certificate in loaded])
    assert loaded == chain[::-1]
PYTHON
