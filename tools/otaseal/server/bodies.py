"""What operators send: the files of a release, and JSON; bounded in size and time before anything is kept.

A body is read to its end even when it is refused, within bounds: a connection that is closed before would take the
answer with it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..admission import Policy

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["Refused", "drain", "read_files", "read_json"]

MAX_UPLOAD = 2 * Policy.max_size  # raw and gzip
MAX_JSON = 64 * 1024
UPLOAD_SECONDS = 300.0
DRAIN_SECONDS, DRAIN_PAUSE = 10.0, 1.0  # in all, and without a byte: who waits for the answer sends none
_PARTS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})?")


class Refused(Exception):
    """An answer that is no error of ours but the caller's right or size: a status, what is wrong, and the fix."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint


async def read_files(request: Request) -> list[bytes]:
    """Return the files in the body, whose sizes stand in X-Otaseal-Parts; without it, the body is one file.

    The bounds are checked before reading. Raises Refused, and TimeoutError for an upload that takes too long.
    """
    length = request.headers.get("content-length")
    parts = request.headers.get("x-otaseal-parts", length or "")
    if length is None or not length.isascii() or not length.isdigit():
        raise Refused(411, "an upload without Content-Length", "send the firmware with its length")
    if int(length) > MAX_UPLOAD:
        raise Refused(413, f"an upload of {length} bytes", f"{MAX_UPLOAD} are the most")
    if not _PARTS.fullmatch(parts) or sum(map(int, parts.split(","))) != int(length):
        raise Refused(400, f"X-Otaseal-Parts '{parts[:64]}' do not add up to {length}", "give each file's size")
    body = await _read(request, int(length))
    sizes = [int(one) for one in parts.split(",")]
    return [body[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]


async def read_json(request: Request, known: Collection[str]) -> dict[str, Any]:
    """Return the JSON object in the body, whose keys are among `known`; raises Refused for anything else."""
    try:
        value = json.loads(await _read(request, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is no JSON", "send a JSON object") from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is no JSON object", "send a JSON object")
    for name in value:
        if name not in known:
            raise Refused(400, f"'{name[:32]}' is no field here", f"there are: {', '.join(known) or 'none'}")
    return value


async def drain(request: Request) -> None:
    """Read what is still coming: a connection that is closed before would take the answer with it."""
    from starlette.requests import ClientDisconnect

    deadline, taken = time.monotonic() + DRAIN_SECONDS, 0
    try:
        stream = request.stream()
        while taken <= MAX_UPLOAD:
            left = min(deadline - time.monotonic(), DRAIN_PAUSE)
            taken += len(await asyncio.wait_for(stream.__anext__(), max(left, 0.01)))
    except (StopAsyncIteration, ClientDisconnect, asyncio.TimeoutError, RuntimeError):
        return


async def _read(request: Request, limit: int) -> bytes:
    """Return the body; raises Refused beyond `limit` bytes, TimeoutError when it takes too long."""

    async def read() -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise Refused(413, f"a body of more than {limit} bytes", "send less")
        return bytes(body)

    return await asyncio.wait_for(read(), UPLOAD_SECONDS)
