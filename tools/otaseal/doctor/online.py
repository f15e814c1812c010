"""The update server as devices and operators meet it: reachable, TLS for the chips, a chain and a token that hold."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from ..client import credentials
from ..client.client import Client
from ..pki.certificate import Certificate
from ..pki.chain import Stack
from ..pki.check import examine
from . import certificates
from .report import TIMEOUT, CheckResult, Subject, advice, ok, problem, skipped, warning

TLS_1_2 = 0x0303
CHACHA20 = (0xCCA8, 0xCCA9)
SERVER_HINT = "otaseal init sets it, and prints the command that starts a server; or serve firmware.bin.signed yourself"
SOON = 30
"""Days before a server's certificate ends in which somebody should renew it."""


def not_asked(subject: Subject, check: str) -> CheckResult | None:
    """Return why no check at the server is made, and to the first of them how there can be one; None if they are."""
    if not subject.server:
        return skipped("left out with --offline")
    if subject.project.settings.server is None:
        return skipped("custom_otaseal_server is not set", SERVER_HINT if check == "server" else "")
    return None


def reachable(subject: Subject) -> Iterator[CheckResult]:
    """Ask for the server's health over verified TLS."""
    connected = _client(subject)
    health = connected.get("/healthz")
    yield ok(f"{connected.url} answers, and its certificate holds for this machine")
    for reported in health.get("problems", []):
        yield warning(f"the server reports: {reported}", "look at its log, and run otaseal store check there")


def tls(subject: Subject) -> Iterator[CheckResult]:
    """Say a chip's hello, and look at what it is offered (F21, F27, F27d)."""
    server = subject.live
    if server.version != TLS_1_2:
        yield problem(f"it chooses TLS version 0x{server.version:04x}", "offer TLS 1.2: BearSSL knows no later one")
        return
    fragment = "records as large as it likes" if server.fragment is None else f"records of {server.fragment} bytes"
    yield ok(f"TLS 1.2, suite 0x{server.suite:04x}, {fragment}")
    if server.suite not in CHACHA20:
        yield advice(
            "it does not prefer ChaCha20, which costs a chip a quarter of AES",
            "order the suites on the server: ECDHE with ChaCha20-Poly1305 first",
        )
    if server.fragment is None:
        yield advice(
            "it does not negotiate short records: a device needs a buffer of 16 KiB",
            "let otaseal serve or another OpenSSL server end TLS, not a proxy without the extension",
        )
    yield from _resumption(subject)


def _resumption(subject: Subject) -> Iterator[CheckResult]:
    try:
        gives_id, resumed = resumption(subject.address)
    except OSError as error:
        yield skipped(f"whether it resumes sessions could not be tried: {error.strerror or error}")
        return
    if not gives_id:
        yield warning(
            "it gives TLS 1.2 clients no session id: every poll of a device is a full handshake",
            "let otaseal serve end TLS, or a server that keeps sessions by their id: devices know no tickets",
        )
    elif not resumed:
        yield warning(
            "it forgets the sessions of TLS 1.2 clients: every poll of a device is a full handshake",
            "give the server a session cache that its workers share (nginx: ssl_session_cache shared:name:1m)",
        )


def resumption(address: tuple[str, int]) -> tuple[bool, bool]:
    """Return whether a server gives TLS 1.2 clients a session id, and resumes a session by it; raises OSError.

    Two connections tell, without tickets, which BearSSL does not know. Nothing is verified: other checks do that.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    session, _ = _connect(context, address, None)
    if session is None or not session.id:
        return False, False
    return True, _connect(context, address, session)[1]


def _connect(
    context: ssl.SSLContext, address: tuple[str, int], session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    with (
        socket.create_connection(address, TIMEOUT) as connection,
        context.wrap_socket(connection, server_hostname=address[0], session=session) as secured,
    ):
        answer = secured.session, bool(secured.session_reused)
        with contextlib.suppress(OSError):  # OpenSSL forgets the session of a connection that just breaks off
            secured.unwrap()
        return answer


def chain(subject: Subject) -> Iterator[CheckResult]:
    """Judge the server's chain as devices with the project's certificates will, and see when it ends."""
    host, _ = subject.address
    sent = subject.live.chain
    report = examine(sent, [anchor.der for anchor in certificates.anchors(subject)], host, subject.now)
    verdict = report.verdicts[Stack.BEARSSL]
    for finding in verdict.findings:
        yield problem(f"devices refuse it for '{host}': {finding.message}", finding.hint)
    if not verdict.accepted:
        return
    end = Certificate(sent[0]).fields.not_after
    yield ok(f"devices with the project's certificates accept it for '{host}', until {end:%Y-%m-%d}")
    if (end - subject.now).days < SOON:
        yield warning(f"it ends on {end:%Y-%m-%d}", "renew it: otaseal pki renew, and the server takes it by itself")


def published(subject: Subject) -> Iterator[CheckResult]:
    """Use the credentials: do they hold, does the server know product and key, and what does the channel give out?"""
    options = subject.project.settings
    if options.product is None:
        yield skipped("custom_otaseal_product is not set")
        return
    connected = _client(subject)
    if not connected.is_known:
        yield warning(
            "there is no token and no certificate to deploy with",
            "set OTASEAL_TOKEN, custom_otaseal_token_file or custom_otaseal_operator_cert",
        )
        return
    path = f"/v1/products/{quote(options.product, safe='')}?{urlencode({'channel': options.channel})}"
    state = connected.get(path)
    how = "the token is valid" if connected.token else "the operator's certificate is valid"
    yield ok(f"{how} for '{options.product}'; {_current(state, options.channel)}")
    key = _pem_of(subject)
    if key is not None and key not in [str(pem).strip() for pem in state["keys"].values()]:
        yield problem(
            f"the server does not have the project's public key for '{options.product}'",
            f"otaseal serve --product {options.product}=signing.pub, on the server",
        )


def _current(state: Any, channel: str) -> str:
    current = state["current"]
    if current is None:
        return f"channel '{channel}' has no release yet"
    share = state["channels"].get(channel, {})
    halted = ", HALTED" if share.get("halted") else ""
    return f"channel '{channel}' gives out {current['version']} to {share.get('percent')} %{halted}"


def _pem_of(subject: Subject) -> str | None:
    from ..keys.public import public_pem
    from .keys import expected_key

    if subject.project.settings.next_public_key is not None:
        return None  # a bridge release carries the key that the server may not need yet
    key = expected_key(subject.project)
    return None if key is None else public_pem(key).decode("ascii").strip()


def _client(subject: Subject) -> Client:
    return credentials.connect(subject.options, subject.project.folder, subject.project.variables)
