"""Requests to the operators' port."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from support.servers import Reply, Running, talk

__all__ = ["NOW", "raw", "refusal"]


NOW = datetime.now(timezone.utc)


def raw(server: Running, request: bytes) -> Reply:
    return talk(server.world.context(), server.operators, request)


def refusal(reply: Reply, status: int) -> str:
    answer = json.loads(reply.body)
    assert reply.status == status, answer
    assert set(answer) == {"error", "hint"}
    return str(answer["error"])
