"""Certificates as openssl made them long ago: a name with umlauts in Latin-1, a server that says it is not a CA."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import peers

LATIN_TITLE = "Werkstatt für blinkende Geräte"
_LATIN = f"""[req]
distinguished_name = name
prompt = no
utf8 = yes
string_mask = nombstr
x509_extensions = authority
[name]
CN = {LATIN_TITLE}
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = DER:30:03:01:01:00
keyUsage = critical, digitalSignature
subjectAltName = DNS:localhost
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
_EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout"]


def make_latin_chain(folder: Path, server_key: Path | None = None) -> Path:
    """Make ca.crt and server.crt for localhost in `folder`, and return it.

    The authority's name has umlauts in a T61String, as OpenSSL wrote them by default before 1.1; the server's
    certificate says in so many bytes that it is not a CA. `server_key` is the server's; without it server.key is made.
    """
    (folder / "ca.cnf").write_text(_LATIN, encoding="utf-8")
    _openssl(folder, "req", "-x509", *_EC_KEY, "ca.key", "-out", "ca.crt", "-config", "ca.cnf", "-days", "900")
    own = ["-key", str(server_key)] if server_key else [*_EC_KEY, "server.key"]
    _openssl(folder, "req", "-new", *own, "-out", "server.csr", "-subj", "/CN=localhost")
    issue = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ca.cnf", "-extensions", "server"]
    _openssl(folder, "x509", "-req", "-in", "server.csr", *issue, "-out", "server.crt", "-days", "90")
    (folder / "ca.key").unlink()
    return folder


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([peers.tool("openssl", "openssl"), *arguments], cwd=folder, check=True, capture_output=True)
