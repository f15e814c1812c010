"""An answer that goes on until its connection ends: hints of what changed, as server-sent events.

The connection is then a listener's, and no request's: uvicorn and its request are let go of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import SystemFaultError
from ..changes import Changes
from .uploads import Refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "connection": "close",
}


def answer(changes: Changes, request: Request, product: str | None) -> Response:
    """Let who asks listen to a product, None for all; raises Refused where too many do.

    What is returned is for who counts answers: by then the connection has been handed on, and nobody is sent it.
    """
    from starlette.responses import Response

    if request.method != "HEAD":
        try:
            listener = changes.listen(product, request.headers.get("last-event-id", ""))
        except SystemFaultError as error:  # no fault of ours, and no alarm: many listen
            raise Refused(503, error.message, error.hint or "") from error
        lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        request.scope["state"]["hand_on"](listener, f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
    return Response(headers=HEADERS)
