"""ESP8266httpUpdate: the headers of its request (F28), and its checks of status, size and first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from . import flash as chip
from .core import Core
from .error_numbers import HttpError
from .http_client import Response
from .report import Fault
from .updater import GZIP_MAGIC, IMAGE_MAGIC

if TYPE_CHECKING:
    from .device import Device

OK, PARTIAL_CONTENT, NOT_MODIFIED, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 200, 206, 304, 401, 403, 404
PEEKED = 4
SDK_VERSION = "2.2.2-dev(38a443e)"

_STATUS: Mapping[int, tuple[HttpError, str]] = {
    NOT_FOUND: (HttpError.SERVER_FILE_NOT_FOUND, "404: the server has nothing under this name"),
    FORBIDDEN: (HttpError.SERVER_FORBIDDEN, "403: the server does not serve this device"),
    UNAUTHORIZED: (HttpError.SERVER_UNAUTHORIZED, "401: the server wants a password or a certificate"),
}


def claims(device: Device) -> dict[str, str]:
    """Return what a request says about the device, as headers in the order in which they are sent."""
    mac = device.mac
    headers = {
        "x-ESP8266-Chip-ID": str(int(mac.replace(":", "")[6:] or "0", 16)),
        "x-ESP8266-STA-MAC": mac,
        "x-ESP8266-AP-MAC": f"{int(mac[:2], 16) | 2:02X}{mac[2:]}" if mac else "",
        "x-ESP8266-free-space": str(chip.free_space(device.flash, device.layout)),
        "x-ESP8266-sketch-size": str(chip.sketch_size(device.flash)),
        "x-ESP8266-sketch-md5": chip.sketch_md5(device.flash),
        "x-ESP8266-chip-size": str(device.layout.flash_size),
        "x-ESP8266-sdk-version": SDK_VERSION,
        "x-ESP8266-mode": "sketch",
    }
    return headers | ({"x-ESP8266-version": device.version} if device.version else {})


def judge_answer(response: Response, core: Core, room: int) -> tuple[str, Fault] | None:
    """Return the step and the fault for what is not an update of at most `room` bytes; 304 is none either."""
    fault = judge_status(response)
    if fault is not None:
        if response.status == UNAUTHORIZED and not core.unauthorized:
            fault = replace(fault, error=HttpError.SERVER_WRONG_HTTP_CODE)
        return "answer", fault
    if response.size > room:
        reason = f"{response.size} bytes, and the device has room for {room}"
        return "space", Fault(HttpError.TOO_LESS_SPACE, reason, "F10")
    return None


def judge_status(response: Response) -> Fault | None:
    """Return why an answer is no update: by its status, or because it does not say its size."""
    status, size = response.status, response.size
    if status != OK:
        error, reason = _STATUS.get(status, (HttpError.SERVER_WRONG_HTTP_CODE, f"status {status}"))
        redirected = f"{reason}: a device follows no redirection" if 300 <= status < 400 else reason
        return Fault(error, redirected, "F29", response.server_reason or _cause(status))
    if size <= 0:
        reason = "the answer has no Content-Length above 0 (a chunked one has none)"
        return Fault(HttpError.SERVER_NOT_REPORT_SIZE, reason, "F29", "no-length")
    return None


def _cause(status: int) -> str:
    """Return a word for a status that is not an update: its own for those that devices tell apart, else its kind."""
    if status in _STATUS:
        return f"status-{status}"
    return {3: "redirect", 5: "server-error"}.get(status // 100, "status")


def judge_first_bytes(head: bytes, core: Core, flash_size: int) -> Fault | None:
    """Return why a firmware that begins like this is not begun with."""
    if len(head) < PEEKED:
        return Fault(HttpError.BIN_VERIFY_HEADER_FAILED, f"only {len(head)} bytes of a body arrive", "F29", "no-body")
    if head[0] != IMAGE_MAGIC and not (core.gzip and head[0] == GZIP_MAGIC[0]):
        reason = f"the first byte is 0x{head[0]:02x}, not 0xe9 or 0x1f"
        return Fault(HttpError.BIN_VERIFY_HEADER_FAILED, reason, "F9")
    wanted = chip.configured_size(head) if head[0] == IMAGE_MAGIC else 0
    if wanted > flash_size:
        reason = f"the image is for {wanted} bytes of flash, the chip has {flash_size}"
        return Fault(HttpError.BIN_FOR_WRONG_FLASH, reason, "F10")
    return None
