"""Request bodies of operators: the files of a release, and JSON; bounded in size and time before anything is kept.

A body is read to its end even when it is refused, within bounds: a connection that is closed before would take the
answer with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING, Any

from ...errors import OtasealError
from ...release.admission import Policy
from ...release.records import MAX_BOARDS

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_UPLOAD = 4 * Policy.max_size
"""All files of a release: two forms of each board."""
MAX_JSON = 64 * 1024
UPLOADS_AT_ONCE = 8
"""Uploads that are read at the same time, each of which is in memory."""
UPLOAD_SECONDS = 300.0
STALL_SECONDS, STALL_BYTES = 10.0, 16 * 1024
"""An upload that is not over has to bring so many bytes in that time."""
DRAIN_SECONDS, DRAIN_PAUSE = 10.0, 1.0  # in all, and without a byte: who waits for the answer sends none
_PARTS = re.compile(rf"[0-9]{{1,9}}(,[0-9]{{1,9}}){{0,{2 * MAX_BOARDS - 1}}}")


class Refused(OtasealError):
    """A request refused for the caller's rights or its size, with the HTTP status of the answer."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status


async def read_files(request: Request) -> list[bytes]:
    """Return the files in the body, by the sizes in X-Otaseal-Parts; raises Refused, TimeoutError when it is slow."""
    length = request.headers.get("content-length")
    parts = request.headers.get("x-otaseal-parts", length or "")
    if length is None or not length.isascii() or not length.isdigit():
        raise Refused(411, "an upload without Content-Length", "send the firmware with its length")
    if int(length) > MAX_UPLOAD:
        raise Refused(413, f"an upload of {length} bytes", f"{MAX_UPLOAD} are the most")
    if not _PARTS.fullmatch(parts) or sum(map(int, parts.split(","))) != int(length):
        raise Refused(400, f"X-Otaseal-Parts '{parts[:64]}' do not add up to {length}", "give each file's size")
    body = await read_body(request, int(length))
    sizes = [int(size) for size in parts.split(",")]
    return [body[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]


async def read_json(request: Request, known: Collection[str]) -> dict[str, Any]:
    """Return the JSON object in the body, whose keys are among `known`; raises Refused for anything else."""
    try:
        value = json.loads(await read_body(request, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON", "send a JSON object") from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is not a JSON object", "send a JSON object")
    for name in value:
        if name not in known:
            raise Refused(400, f"'{name[:32]}' is not a field here", f"there are: {', '.join(known) or 'none'}")
    return value


async def drain(request: Request) -> None:
    """Read and drop what is still coming: a connection that is closed before would take the answer with it."""
    from starlette.requests import ClientDisconnect

    deadline, taken = time.monotonic() + DRAIN_SECONDS, 0
    try:
        stream = request.stream()
        while taken <= MAX_UPLOAD:
            left = min(deadline - time.monotonic(), DRAIN_PAUSE)
            taken += len(await asyncio.wait_for(stream.__anext__(), max(left, 0.01)))
    except (StopAsyncIteration, ClientDisconnect, asyncio.TimeoutError, RuntimeError):
        return


class UploadQueue:
    """The uploads that are read: one at a time of each operator, so that nobody holds up the others."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._own: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Return a context manager that waits until an upload of the operator `who` may be read."""
        self._waiting[who] += 1
        try:
            async with self._own.setdefault(who, asyncio.Lock()), self._all:
                yield
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who], self._own[who]


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body; raises Refused beyond `limit` bytes, TimeoutError when it takes too long, or nearly stands."""
    body = bytearray()

    async def read() -> None:
        async for chunk in request.stream():
            body.extend(chunk)
            if len(body) > limit:
                raise Refused(413, f"a body of more than {limit} bytes", "send less")

    reading, end, seen = asyncio.ensure_future(read()), time.monotonic() + UPLOAD_SECONDS, 0
    try:
        while not (await asyncio.wait({reading}, timeout=STALL_SECONDS))[0]:
            if len(body) - seen < STALL_BYTES or time.monotonic() > end:
                raise asyncio.TimeoutError
            seen = len(body)
    finally:
        reading.cancel()
    reading.result()
    return bytes(body)
