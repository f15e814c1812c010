"""The whole device, ready to be polled: one poll of a server, step by step, to the flash that comes of it.

A `Device` is a value: an outcome holds the next one. Only polling reaches outside, to the server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from .http_client import parse_url
from .poll import Answer, Play
from .report import Result, Step
from .state import State

__all__ = ["Device", "Outcome"]

TIMEOUT = 8.0
"""Seconds that the HTTP updater waits for more, as long as the core's default is."""


@dataclass(frozen=True)
class Outcome:
    """How a poll ended, its steps, and the device afterwards.

    `error` is what the updater's `getLastError()` says (0: none), `tls_error` BearSSL's, `library_error` the OtaSeal
    library's where the firmware carries it. `status` is the HTTP status or 0, `request` the very bytes sent.
    """

    result: Result
    steps: tuple[Step, ...]
    device: Device
    error: int = 0
    tls_error: int = 0
    library_error: int = 0
    status: int = 0
    request: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the device is where it should be: updated, or up to date."""
        return self.result in (Result.UPDATED, Result.UP_TO_DATE)

    @property
    def failed(self) -> Step | None:
        """The first step that is not good."""
        return next((step for step in self.steps if not step.ok), None)


@dataclass(frozen=True)
class Device(State):
    """A chip that can be polled; see `State` for what it holds, and `State.provision` for how it begins."""

    def poll(self, url: str, *, timeout: float = TIMEOUT, host: str | None = None) -> Outcome:
        """Return what comes of one update from `url`; `host` is dialled instead of the name in it.

        Raises ConfigError for a URL that is none, SystemFaultError where littlefs-python is missing, InputError for a
        client certificate that cannot be read.
        """
        return _outcome(Play(self, parse_url(url), timeout, host).update())

    def renew_certificates(
        self, url: str, *, timeout: float = TIMEOUT, host: str | None = None, answer: Answer | None = None
    ) -> Outcome:
        """Return what comes of asking `url` (".../certs.ar.signed") for another archive, as the library does.

        UPDATED: it is in use; UP_TO_DATE: 304 or 404. With `answer` the server is connected to and asked, and what
        `answer` makes of the request takes the place of what it says. Raises as `poll`, and ConfigError for a device
        without the library.
        """
        return _outcome(Play(self, parse_url(url), timeout, host).renew(answer))


def _outcome(play: Play) -> Outcome:
    return Outcome(
        play.result,
        tuple(play.steps),
        cast(Device, play.state),
        play.error,
        play.tls_error,
        play.library_error,
        play.status,
        play.request,
    )
