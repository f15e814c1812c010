"""The verifiers themselves: BearSSL, mbedTLS, OpenSSL and curl, each as a real client of a real server on loopback."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.pki.chain import Stack
from support import peers

TIMEOUT = 60  # seconds
MAX_CONNECTIONS = 5_000
RESPONSE = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Question:
    """Is what the server on `port` shows good for `name`, under `anchors` (DER), at `now`?"""

    port: int
    anchors: Sequence[bytes]
    name: str
    now: datetime
    folder: Path

    def anchor_files(self) -> list[str]:
        paths = [self.folder / f"anchor-{index}.der" for index in range(len(self.anchors))]
        for path, der in zip(paths, self.anchors, strict=True):
            path.write_bytes(der)
        return [str(path) for path in paths]


class Presenter:
    """A TLS server that shows whatever chain it is given, with the security level at its lowest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def present(self, chain: Sequence[bytes], key: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ECDHE:@SECLEVEL=0")
        path = self._folder / "server.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(secret + b"".join(ssl.DER_cert_to_PEM_cert(one).encode() for one in chain))
        context.load_cert_chain(path)
        self.context = context

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        for _ in range(MAX_CONNECTIONS):
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            with raw, contextlib.suppress(OSError):
                raw.settimeout(TIMEOUT)
                with self.context.wrap_socket(raw, server_side=True) as connection:
                    connection.recv(1024)
                    connection.sendall(RESPONSE)


@contextlib.contextmanager
def presenting() -> Iterator[Presenter]:
    with tempfile.TemporaryDirectory() as folder:
        presenter = Presenter(Path(folder))
        try:
            yield presenter
        finally:
            presenter.close()


def ask_bearssl(question: Question) -> tuple[bool, str]:
    return _ask_program(peers.compiled("tls_client.c", "libbearssl-dev", "bearssl"), question)


def ask_mbedtls(question: Question) -> tuple[bool, str]:
    program = peers.compiled("mbedtls_client.c", "libmbedtls-dev", "mbedtls", "mbedx509", "mbedcrypto")
    return _ask_program(program, question)


def _ask_program(program: str, question: Question) -> tuple[bool, str]:
    seconds = str(int(question.now.timestamp()))
    command = [program, str(question.port), question.name, seconds, *question.anchor_files()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode in (0, 1), done
    return done.returncode == 0, done.stdout.strip()


def ask_python(question: Question) -> tuple[bool, str]:
    """Python with the flags that 3.13 sets by default; its clock is the machine's."""
    context = ssl.create_default_context(cadata=b"".join(question.anchors))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with (
            socket.create_connection(("127.0.0.1", question.port), TIMEOUT) as raw,
            context.wrap_socket(raw, server_hostname=question.name) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(len(RESPONSE)).startswith(b"HTTP"), "ok"
    except ssl.SSLError as error:
        return False, str(error)


def ask_curl(question: Question) -> tuple[bool, str]:
    """Whether curl reaches the server under that name; its clock is the machine's."""
    anchors = question.folder / "anchors.pem"
    anchors.write_text("".join(ssl.DER_cert_to_PEM_cert(one) for one in question.anchors))
    url = f"https://{question.name}:{question.port}/"
    redirect = f"{question.name}:{question.port}:127.0.0.1:{question.port}"
    command = [peers.tool("curl", "curl"), "-sS", "--cacert", str(anchors), "--connect-to", redirect, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    return done.returncode == 0, done.stderr.strip()


def ask_openssl_at(question: Question, chain: Sequence[bytes], purpose: str = "sslserver") -> tuple[bool, str]:
    """What `openssl verify` says at the time asked for, strictly: the one OpenSSL whose clock can be moved."""
    leaf, anchors, rest = (question.folder / name for name in ("leaf.pem", "anchors.pem", "rest.pem"))
    leaf.write_text(ssl.DER_cert_to_PEM_cert(chain[0]))
    anchors.write_text("".join(ssl.DER_cert_to_PEM_cert(one) for one in question.anchors))
    rest.write_text("".join(ssl.DER_cert_to_PEM_cert(one) for one in chain[1:]))
    command = [peers.tool("openssl", "openssl"), "verify", "-x509_strict", "-partial_chain", "-auth_level", "2"]
    command += ["-purpose", purpose, "-attime", str(int(question.now.timestamp())), "-CAfile", str(anchors)]
    command += ["-untrusted", str(rest)] if chain[1:] else []
    command += ["-no-CApath", "-no-CAstore"]
    if question.name:
        address = question.name.replace(".", "").isdigit()
        command += ["-verify_ip" if address else "-verify_hostname", question.name]
    done = subprocess.run([*command, str(leaf)], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    return done.returncode == 0, done.stderr.strip()


VERIFIERS: dict[Stack, Callable[[Question], tuple[bool, str]]] = {
    Stack.BEARSSL: ask_bearssl,
    Stack.MBEDTLS: ask_mbedtls,
    Stack.OPENSSL: ask_python,
    Stack.CURL: ask_curl,
}
