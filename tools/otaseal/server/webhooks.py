"""Webhooks: what calls for a person is sent to addresses that the operator names, signed and retried.

Each message is a POST of JSON by the published scheme "Standard Webhooks" (standardwebhooks.com): `webhook-id`, the
same in every try, `webhook-timestamp`, and `webhook-signature`, an HMAC-SHA256 over both and the body. Over TLS with
verification, or to this machine; redirects are not followed. A thread for each address sends one message after the
other; nothing waits for it, and what finds no room is dropped and counted. An address may be a secret, too: the log
names its host alone.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import addresses, files
from ..errors import ConfigError, counted
from .telemetry import Telemetry
from .tls import is_this_machine

MAX_FILE = 4096
MAX_WAITING = 100
"""Messages that wait for one address; then the oldest goes."""
RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Pauses after a try that failed; after the last one the message is given up."""
TRY_SECONDS, READ_SECONDS = 30.0, 10.0
"""How long a try may take, and one read of it."""
CLOSE_SECONDS = 2.0
SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
SECRET_BYTES = range(24, 65)
_MAKE = "make one with: echo whsec_$(openssl rand -base64 32)"


@dataclass(frozen=True)
class Hook:
    """An address (https, or http on this machine), and the secret that messages to it are signed with."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    file: Path | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """How the log names it."""
        return urlsplit(self.url).hostname or ""


def read_hook(path: Path) -> Hook:
    """Return what is in a file of two lines, the address and the secret; raises ConfigError, InputError."""
    lines = files.read_bounded(path, MAX_FILE, "webhook").decode("utf-8", "replace").splitlines()
    lines = [line.strip() for line in lines if line.strip()]
    if len(lines) != 2:
        raise ConfigError(
            f"'{path}' has {counted(len(lines), 'line')}",
            "write the address into its first line, and the secret into the second",
        )
    url, secret = lines
    return Hook(_checked_url(url, path), _checked_secret(secret, path), path)


def _checked_url(url: str, path: Path) -> str:
    parts = addresses.split_url(url)
    host = parts.hostname or ""
    plain = url.isascii() and url.isprintable() and " " not in url
    if not plain or not host or parts.username is not None or parts.scheme not in ("http", "https"):
        raise ConfigError(f"the first line of '{path}' is no address of a webhook", "write https://host/path")
    if parts.scheme == "http" and not is_this_machine(host):
        raise ConfigError(
            f"the webhook in '{path}' is for '{host}' without TLS", "write https://; http is for this machine alone"
        )
    return url


def _checked_secret(text: str, path: Path) -> bytes:
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(SECRET_PREFIX) or len(secret) not in SECRET_BYTES:
        raise ConfigError(f"the second line of '{path}' is no secret of a webhook", _MAKE)
    return secret


@dataclass(frozen=True)
class Message:
    """What is sent, and under which id."""

    id: str
    body: bytes

    @classmethod
    def make(cls, kind: str, data: Mapping[str, Any]) -> Message:
        """Return a message of now."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        body = json.dumps({"type": kind, "timestamp": now, "data": dict(data)}).encode()
        return cls(f"msg_{secrets.token_hex(16)}", body)

    def headers(self, secret: bytes, now: int) -> dict[str, str]:
        """Return the headers of a try at `now`, in seconds since 1970."""
        signed = hmac.new(secret, f"{self.id}.{now}.".encode() + self.body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "User-Agent": "otaseal",
            "webhook-id": self.id,
            "webhook-timestamp": str(now),
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }


class Sender:
    """Sends messages to one address, in a thread of its own until `close`."""

    def __init__(self, hook: Hook, telemetry: Telemetry, pauses: tuple[float, ...] = RETRY_SECONDS) -> None:
        self._hook, self._telemetry, self._pauses = hook, telemetry, pauses
        self._waiting: deque[Message] = deque()
        self._news, self._closing = threading.Condition(), threading.Event()
        self._context = ssl.create_default_context()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Take a message, and return at once."""
        with self._news:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._count("dropped")
            self._waiting.append(message)
            self._news.notify()

    def close(self) -> None:
        """End, after the try that is going on or a bounded time."""
        self._closing.set()
        with self._news:
            self._news.notify()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closing.is_set())
                message = self._waiting.popleft() if self._waiting else None
            if message is not None:
                self._deliver(message)

    def _deliver(self, message: Message) -> None:
        """Try until it is taken, or is given up."""
        for number, pause in enumerate((*self._pauses, 0.0)):
            failure = self._try(message)
            if not failure:
                self._count("delivered")
                return
            if number == 0:
                self._telemetry.event("webhook", host=self._hook.host, id=message.id, message=failure)
            if self._closing.wait(pause):
                return
        self._count("given up")
        self._telemetry.event("webhook", host=self._hook.host, id=message.id, message="given up after the last try")

    def _try(self, message: Message) -> str:
        """Send a message once, and return why it was not taken, "" where it was."""
        parts = urlsplit(self._hook.url)
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=READ_SECONDS, context=self._context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=READ_SECONDS)
        )
        end = threading.Timer(TRY_SECONDS, _cut, (connection,))
        end.daemon = True
        end.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = message.headers(self._hook.secret, int(time.time()))
            connection.request("POST", target, message.body, headers)
            status = connection.getresponse().status
        except ssl.SSLError as error:
            return f"TLS: {getattr(error, 'verify_message', '') or error.reason or 'failed'}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            return str(getattr(error, "strerror", None) or type(error).__name__)
        finally:
            end.cancel()
            connection.close()
        return "" if 200 <= status < 300 else f"it answers {status}"

    def _count(self, result: str) -> None:
        self._telemetry.count("otaseal_webhooks_total", result=result)


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


class Webhooks:
    """All addresses; use it in a `with` statement."""

    def __init__(self, hooks: tuple[Hook, ...], telemetry: Telemetry) -> None:
        self._senders = tuple(Sender(hook, telemetry) for hook in hooks)

    def __enter__(self) -> Webhooks:
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            sender.close()

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send a message to every address, some time."""
        if self._senders:
            message = Message.make(kind, data)
            for sender in self._senders:
                sender.put(message)
