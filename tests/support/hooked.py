"""A receiver of webhooks, over TLS or on this machine without, that answers as a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .web import Handler, serving, tls_of


@dataclass
class Received:
    """One message as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with `statuses` one after the other, then with 204; `received` is what came."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def answer(self, message: Received) -> int:
        """Take a message, and return the status of the answer."""
        self.received.append(message)
        return self.statuses.pop(0) if self.statuses else 204


@contextmanager
def receiving(chain: Path | None = None, key: Path | None = None) -> Iterator[Receiver]:
    """Receive on a free port; over TLS where there is a `chain`."""
    receiver = Receiver()

    class Receive(Handler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.answer(Received(self.path, headers, body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Receive, None if chain is None else tls_of(chain, key)) as port:
        receiver.url = f"{'http' if chain is None else 'https'}://localhost:{port}"
        yield receiver
