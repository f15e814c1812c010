"""TLS with an update server: the client's context, and what an operator can do about a handshake that fails.

One table by OpenSSL's numbers (X509_V_ERR_... of openssl/x509_vfy.h), and one by the alert with which the server ends a
handshake.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

from ..errors import InputError, SystemFaultError, VerificationError

NOT_YET_VALID, EXPIRED = 9, 10
CLOCK = (NOT_YET_VALID, EXPIRED)
"""What depends on the clock of the machine, so that its time belongs into the message."""

_MORE = "otaseal pki check HOST:PORT says what is wrong with it, rule by rule"
_NAME_IT = "name its authority with --ca or custom_otaseal_server_ca"
_FIXES: tuple[tuple[str, str], ...] = (
    ("9", "set the clock of this machine; if it is right, the certificate was made on one whose clock is ahead"),
    ("10", "renew it (otaseal pki renew, and the server takes it by itself), or set the clock if that is wrong"),
    ("62 64", "use a name that it is for, or issue it one more: otaseal pki server NAME --name HOST"),
    ("2 20 21", f"{_NAME_IT}, and let the server send every issuer below it"),
    ("18", f"it names itself as its issuer, and nobody trusts it: {_NAME_IT}, or have one issue it"),
    ("19 27 95", f"its authority is not the one that is trusted: {_NAME_IT}"),
    ("4 6 7 24 29 30 31 76 77 78", f"another authority of the same name signed it: {_NAME_IT}"),
    (
        "32 37 79 80 81 82 89 92 93",
        "its authority needs basicConstraints CA:TRUE and keyCertSign: otaseal pki has them",
    ),
    ("26 28 39", "issue it for servers, with serverAuth and digitalSignature, as otaseal pki server does"),
    (
        "13 14 34 41 83 84 85 86 87 88 90 91",
        "issue it again with the extensions that RFC 5280 asks for, as otaseal pki server does",
    ),
    ("47 48 49 51 52 53", "its authority may not issue for this name: use another, or a CA without name constraints"),
    ("56 57 58 59 60 61 66 67 68 94", "issue it with RSA-2048 or P-256 and SHA-256, and its authority, too"),
    ("23", "it is revoked: give the server another one (otaseal pki server)"),
    ("3 5 8 11 12 15 16 33 35 36 44 54", "a list of revoked certificates is missing, outdated or another authority's"),
    ("22 25 55", "issue it from the root itself: its chain is too long, or goes in a circle"),
)
_BY_CODE = {int(code): fix for codes, fix in _FIXES for code in codes.split()}

_OTHER_AUTHORITY = "show a certificate of the authority that the server was given with --operator-ca"
REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "it wants a client's certificate",
        "give --cert and --cert-key, or the port for operators",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("the operator's certificate has expired", "renew it: otaseal pki renew"),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": ("the operator's certificate is revoked", "issue another: otaseal pki operator"),
    "TLSV1_ALERT_UNKNOWN_CA": ("it does not know who issued the operator's certificate", _OTHER_AUTHORITY),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("it does not accept the operator's certificate", _OTHER_AUTHORITY),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("it does not accept the operator's certificate", _OTHER_AUTHORITY),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": (
        "the operator's certificate is not one for clients",
        "issue one with otaseal pki operator",
    ),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": ("there is no cipher suite in common", "let it offer ECDHE with AES-GCM"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("there is no version of TLS in common", "let it offer TLS 1.2"),
    "UNSUPPORTED_PROTOCOL": ("there is no version of TLS in common", "let it offer TLS 1.2"),
    "WRONG_VERSION_NUMBER": ("it does not speak TLS", "give the port for operators of otaseal serve"),
}
"""By `ssl.SSLError.reason`: what the server objects to, and what to do about it."""


def verification_fix(code: int) -> str:
    """Return what to do about a server's certificate for which OpenSSL says `code`."""
    return _BY_CODE.get(code, _MORE)


def client_context(ca: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    """Return a context that verifies servers by `ca` and shows `certificate` (chain, key); raises InputError."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise InputError(
            f"'{ca}' is not an authority's certificate: {_reason(error)}",
            "give the PEM file of the server's root",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        chain, key = certificate
        try:
            context.load_cert_chain(chain, key, _no_passphrase)
        except OSError as error:
            raise InputError(
                f"'{chain}' and '{key}' are no certificate and its key: {_reason(error)}",
                "give chain.pem and key.pem of one folder, as otaseal pki operator makes them",
            ) from error
    return context


def handshake_fault(url: str, error: ssl.SSLError) -> VerificationError | SystemFaultError:
    """Return the error to raise for a handshake with `url` that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        clock = f"; this machine's clock says {datetime.now():%Y-%m-%d %H:%M}" if error.verify_code in CLOCK else ""
        message = f"the certificate of '{url}' does not hold: {error.verify_message}{clock}"
        return VerificationError(message, verification_fix(error.verify_code))
    if error.reason in REFUSALS:
        reason, hint = REFUSALS[error.reason]
        return VerificationError(f"'{url}' ends the handshake: {reason}", hint)
    return SystemFaultError(f"TLS with '{url}' fails: {error.reason or error}", "otaseal pki check HOST:PORT says more")


def _reason(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or type(error).__name__


def _no_passphrase() -> bytes:
    # OpenSSL would ask by itself, and a build has nobody to answer.
    raise InputError("the operator's key is locked by a passphrase", "give one without, with mode 0600")
