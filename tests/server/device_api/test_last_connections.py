"""A listening socket that takes nobody more on: who is connected stays so, who comes is refused once it is closed."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from otaseal.server.device_api.last_connections import take_no_more
from support.servers import SECONDS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's filters are Linux's")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_nobody_new_is_connected_and_nobody_is_reset(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listening, ThreadPoolExecutor(1) as pool:
        place = listening.getsockname()[:2]
        with socket.create_connection(place, SECONDS) as before:
            assert take_no_more(listening)
            later = pool.submit(socket.create_connection, place, SECONDS)
            accepted, _ = listening.accept()
            with accepted:
                before.sendall(b"asked")
                assert accepted.recv(9) == b"asked"
            assert wait([later], 0.2).not_done, "it asks again and again"
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
        listening.close()
        with pytest.raises(ConnectionRefusedError):
            later.result(SECONDS)
