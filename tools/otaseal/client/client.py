"""The client of the update server for operators: publish a release, read it back, and ask or change what it has.

Standard library only, because a build uses it. TLS is always verified, without an option against that; redirects are
not followed.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .. import addresses
from ..errors import ConfigError, InputError, SystemFaultError, VerificationError
from ..image.firmware import Firmware
from ..protocol.request import FILE_NAME
from ..release.plan_fields import wave_fields
from ..release.record_json import from_json
from ..release.records import Origin, Release, check_version, describe
from .deployment import Admitted, Deployment, Options, admit_against, check_record, public_keys_of
from .tls import client_context, handshake_fault

TIMEOUT = 30.0  # seconds without any progress
CHUNK = 64 * 1024
MAX_ANSWER = 16 * 1024 * 1024
JSON = {"Content-Type": "application/json"}
NO_PATH = "no such path"  # what a server says that does not know a request

Progress = Callable[[int, int], None]
"""Called with the bytes sent so far and in all."""
Token = str | Callable[[], str] | None
"""What is shown to the server, or what returns it before each request: one of some minutes may have to be replaced."""
Reply = tuple[int, Mapping[str, str], bytes]
"""Status, headers by their names in lower case, body."""


@dataclass(frozen=True)
class Client:
    """An operator of the server at `url` (https, the operators' port); `ca` has its authorities, None: the system's."""

    url: str
    token: Token = field(default=None, repr=False)
    ca: Path | None = None
    certificate: tuple[Path, Path] | None = None

    def __post_init__(self) -> None:
        parts = addresses.split_url(self.url)
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ConfigError(
                f"'{self.url}' is not a server", "write https://host:port, as in https://update.local:8444"
            )

    @property
    def is_known(self) -> bool:
        """Whether a token or a certificate says who asks."""
        return self.token is not None or self.certificate is not None

    @property
    def host(self) -> str:
        """The server's name or address."""
        return urlsplit(self.url).hostname or ""

    def publish(
        self,
        admitted: Admitted,
        rehearsal: str = "",
        progress: Progress | None = None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> Deployment:
        """Publish what `check` admitted, read it back, and return what changed.

        `rehearsal` is its outcome, for the audit log: "passed", "partly", "skipped", or "". `attachments` are JSON by
        kind (`release.attachments`). Raises InputError for what the server refuses, VerificationError when it gives out
        something else, SystemFaultError without an answer.
        """
        options, signed = admitted.options, [firmware.data for firmware in admitted.files]
        path = _publish_path(admitted, rehearsal)
        headers = {"X-Otaseal-Parts": ",".join(str(len(file)) for file in signed)}
        attached = attachments or {}
        if attached:
            headers["X-Otaseal-Attachments"] = ",".join(f"{kind}={len(data)}" for kind, data in attached.items())
        body = b"".join((*signed, *attached.values()))
        answer = self._json(self._request("PUT", path, body, headers, progress))
        release = from_json(answer["release"])
        check_record(release, admitted.release)
        for board in admitted.boards:
            url, confirmed = self._confirm(board, answer)
        before = admitted.state["channels"].get(options.channel)
        return Deployment(
            release=release,
            channel=options.channel,
            before=answer["before"],
            percent=answer["channel"]["percent"],
            waves=answer["channel"].get("waves", 1),
            devices=answer["devices"],
            url=url,
            confirmed=confirmed,
            warnings=tuple(answer.get("warnings", ())),
            unchanged=before == {**answer["channel"], "generation": before["generation"]} if before else False,
        )

    def check(
        self, signed: Sequence[Firmware], origin: Origin, options: Options, boards: Sequence[str] = ()
    ) -> Admitted:
        """Return the `signed` files with their record if the server will accept them; raises as `publish`.

        `boards` are the names of those that they are for, where there are several.
        """
        state = self.state(origin.product, options.channel)
        release = admit_against(signed, origin, options, state, boards)
        return Admitted(tuple(signed), release, origin, options, state)

    def describe(self, signed: Sequence[Firmware], origin: Origin, options: Options) -> Admitted:
        """Return `signed` with their record as `check` does, compared with nothing that the server has."""
        state = self.state(origin.product, options.channel)
        return Admitted(tuple(signed), describe(signed, origin, public_keys_of(state)), origin, options, state)

    def state(self, product: str, channel: str) -> Mapping[str, Any]:
        """Return what a release for the channel is checked against: keys, current release, fleet; raises as `check`."""
        state: Mapping[str, Any] = self.get(f"{product_path(product)}?{urlencode({'channel': channel})}")
        return state

    def firmware(self, release: Release) -> bytes:
        """Return the signed file of one board's release, raw where it has that form; raises as `publish`."""
        path = _firmware_path(release)
        data = self.fetch(path)
        if data is None:
            raise SystemFaultError(f"'{self.url}{path}' answers 404", "look at the server's log")
        return data

    def fetch(self, path: str) -> bytes | None:
        """Return what the server has at `path`, None where it has nothing (404); raises as `publish`."""
        status, _, body = self._request("GET", path)
        if status not in (200, 404):
            raise SystemFaultError(f"'{self.url}{path}' answers {status}", "look at the server's log")
        return body if status == 200 else None

    def get(self, path: str) -> Any:
        """Return the JSON answer to a GET; raises as `publish`."""
        return self._json(self._request("GET", path))

    def post(self, path: str, value: Mapping[str, Any]) -> Any:
        """Return the JSON answer to a POST of `value`; raises as `publish`."""
        return self._json(self._request("POST", path, json.dumps(value).encode(), JSON))

    def delete(self, path: str) -> Any:
        """Return the JSON answer to a DELETE; raises as `publish`."""
        return self._json(self._request("DELETE", path))

    def set_notes(self, product: str, version: str, said: Mapping[str, str]) -> Any:
        """Say what a release is for, by `severity` and `notes`, as far as given; raises as `publish`."""
        return self.put(release_path(product, version, "notes"), said)

    def enrol(self, product: str, device: str, key: bytes) -> Any:
        """Enrol `key` (32 bytes), by which a device, named by its MAC address, proves itself; raises as `publish`."""
        return self.put(product_path(product, "devices", device, "key"), {"key": key.hex()})

    def accept(self, product: str, device: str, key: str | None = None) -> Any:
        """Enrol the key that a device shows, of two that with the fingerprint `key`; return what was accepted.

        Raises as `publish`.
        """
        return self.post(product_path(product, "devices", device, "accept"), {} if key is None else {"key": key})

    def put(self, path: str, body: bytes | Mapping[str, Any]) -> Any:
        """Return the JSON answer to a PUT of bytes or of a JSON object; raises as `publish`."""
        if isinstance(body, bytes):
            return self._json(self._request("PUT", path, body))
        return self._json(self._request("PUT", path, json.dumps(body).encode(), JSON))

    def _confirm(self, board: Admitted, answer: Mapping[str, Any]) -> tuple[str, str]:
        """Fetch what was published for a board and compare; return the URL and whose answer it was.

        Where devices need a certificate, or not every device is meant, the devices' port would not give us the release.
        """
        release, options, signed = board.release, board.options, [firmware.data for firmware in board.files]
        if answer["device_port"] and not answer["device_certificates"] and options.percent == 100 and not options.waves:
            path = device_path(release.product, options.channel, FILE_NAME)
            headers = {} if release.board_key is None else {"X-Otaseal-Board": release.board_key}
            return self.as_device(answer["device_port"]).read_back(path, signed, headers), "devices"
        return self.read_back(_firmware_path(release), signed), "operators"

    def as_device(self, port: int) -> Client:
        """Return a client of the devices' port, which shows no token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return Client(f"https://{host}:{port}", None, self.ca, self.certificate)

    def read_back(self, path: str, expected: Sequence[bytes], headers: Mapping[str, str] | None = None) -> str:
        """Return the URL of `path` when it answers with one of `expected`; raises VerificationError otherwise."""
        status, answered, body = self._request("GET", path, headers=headers)
        if status != 200 or body not in expected:
            raise VerificationError(
                f"'{self.url}{path}' answers {status} with {len(body)} bytes that are not what was published",
                "look at the server's log; another deployment may have come between",
            )
        md5 = answered.get("x-md5")
        if md5 is not None and md5 != hashlib.md5(body, usedforsecurity=False).hexdigest():
            raise VerificationError(f"'{self.url}{path}' sends a wrong x-MD5 '{md5}'", "look at the server's log")
        return self.url + path

    def _json(self, reply: Reply) -> Any:
        status, _, data = reply
        try:
            value = json.loads(data) if data else {}
        except (ValueError, RecursionError) as error:
            raise SystemFaultError(
                f"'{self.url}' answers {status} with what is not JSON", "give the operators' address, not the devices'"
            ) from error
        if status >= 400 or not isinstance(value, dict):
            raise _refusal(self.url, status, value)
        return value

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Reply:
        parts = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=TIMEOUT, context=client_context(self.ca, self.certificate)
        )
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in self._headers(headers or {}, body):
                connection.putheader(name, value)
            connection.endheaders()
            _send(connection, body or b"", progress)
            response = connection.getresponse()
            data = response.read(MAX_ANSWER + 1)
        except ssl.SSLError as error:
            raise handshake_fault(self.url, error) from error
        except ConnectionResetError as error:
            raise self._closed() from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SystemFaultError(
                f"'{self.url}' cannot be reached: {reason}", "check address, port, and that otaseal serve is running"
            ) from error
        finally:
            connection.close()
        if len(data) > MAX_ANSWER:
            raise SystemFaultError(
                f"'{self.url}' answers with more than {MAX_ANSWER} bytes", "this is not an otaseal server"
            )
        return response.status, {name.lower(): value for name, value in response.getheaders()}, data

    def _headers(self, headers: Mapping[str, str], body: bytes | None) -> Iterator[tuple[str, str]]:
        yield from headers.items()
        if (token := self.token() if callable(self.token) else self.token) is not None:
            yield "Authorization", f"Bearer {token}"
        if body is not None:
            yield "Content-Length", str(len(body))

    def _closed(self) -> SystemFaultError:
        """Return the likely reason why a server closes without an answer, as it does when its alert is lost."""
        hint = "look at its log; a server that wants a client's certificate and gets none may end like this"
        if self.certificate is not None:
            hint = f"see whether '{self.certificate[0]}' has expired, or another authority issued it than --operator-ca"
        return SystemFaultError(f"'{self.url}' closes the connection without an answer", hint)


def _publish_path(admitted: Admitted, rehearsal: str) -> str:
    """Return the path to which a release is put: what it is, for whom, and what is agreed to stand in the query."""
    origin, options = admitted.origin, admitted.options
    limits = {"max_failed": options.max_failed, "patience": options.patience}
    query = {
        "channel": options.channel,
        **_share(options),
        "created": origin.created,
        "board": ",".join(image.board for image in admitted.release.images),
        "commit": origin.git_commit,
        "dirty": int(origin.dirty),
        "downgrade": int(options.allow_downgrade),
        **({"rehearsal": rehearsal} if rehearsal else {}),
        **dict.fromkeys(options.consent.given(), 1),
        **{name: value for name, value in limits.items() if value is not None},
    }
    return f"{product_path(origin.product, 'releases', origin.version)}?{urlencode(query)}"


def _share(options: Options) -> dict[str, Any]:
    """Return who gets a release, as the query has it."""
    if not options.waves:
        return {"percent": options.percent}
    return {"waves": json.dumps([wave_fields(wave) for wave in options.waves], separators=(",", ":"))}


def product_path(product: str, *names: str) -> str:
    """Return the path of a product, or of what has these names in it, on the operators' port."""
    return "/".join(("/v1/products", *(quote(name, safe="") for name in (product, *names))))


def release_path(product: str, version: str, *names: str) -> str:
    """Return the path of a release, or of what has these names in it; raises InputError for what is no version."""
    return product_path(product, "releases", check_version(version), *names)


def device_path(product: str, channel: str, file: str) -> str:
    """Return the path of a channel's file on the devices' port."""
    return f"/{quote(product, safe='')}/{quote(channel, safe='')}/{file}"


def _firmware_path(release: Release) -> str:
    path = release_path(release.product, release.version, "firmware")
    return path if release.board_key is None else f"{path}?{urlencode({'board_id': release.board_key})}"


def _send(connection: http.client.HTTPSConnection, body: bytes, progress: Progress | None) -> None:
    for start in range(0, len(body), CHUNK):
        try:
            connection.send(body[start : start + CHUNK])
        except (BrokenPipeError, ConnectionResetError):
            return  # the server refused before the end, and its answer says why
        if progress is not None:
            progress(min(start + CHUNK, len(body)), len(body))


def _refusal(url: str, status: int, value: Any) -> InputError | SystemFaultError:
    answer = value if isinstance(value, dict) else {}
    message, hint = answer.get("error"), answer.get("hint")
    if not isinstance(message, str) or not isinstance(hint, str):
        return SystemFaultError(f"'{url}' answers {status}", "give the operators' address, not the devices'")
    if status >= 500:
        return SystemFaultError(f"the server reports: {message}", hint)
    if message == NO_PATH:
        hint = "it is older than this otaseal, which asks for more: update the server"
    return InputError(f"the server refuses: {message}", hint)
