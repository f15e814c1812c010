"""Requests to the operators' port."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from support.servers import Reply, Running, talk

NOW = datetime.now(timezone.utc)


def raw(server: Running, request: bytes) -> Reply:
    return talk(server.world.context(), server.operators, request)


def error(reply: Reply) -> tuple[int, str]:
    """Return the status of a refusal, and what it says."""
    answer = json.loads(reply.body)
    assert set(answer) == {"error", "hint"}
    return reply.status, str(answer["error"])


def refusal(reply: Reply, status: int) -> str:
    found, message = error(reply)
    assert found == status, message
    return message
