"""The keys of devices at several servers: one truth of each name, whoever of them says what at the same moment."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from otaseal.store.proof_key_rows import ProofKey
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.sql import Tables, Values
from support.secret_tables import either_secrets

__all__ = ["either_secrets"]

NOW = 1_800_000_000.0
DAY = 86400.0


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Server:
    """One of several servers, which is told what the others have changed when it `hears` it."""

    def __init__(self, secrets: Tables, limit: int = 100) -> None:
        self.told: set[str] = set()
        self.keys = ProofKeys(secrets, limit=limit, tell=lambda _, names: self.told.update(names))

    def hear(self, *others: Server) -> None:
        for other in others:
            self.keys.apply(other.told)

    def has(self, name: str) -> ProofKey | None:
        return self.keys.get("blink", name)


def test_servers_that_agree_a_key_for_one_name_end_with_that_written_first(either_secrets: Tables) -> None:
    first, second = Server(either_secrets), Server(either_secrets)
    assert first.keys.agree("blink", "a", key(1), NOW)
    assert second.keys.agree("blink", "a", key(2), NOW + 9 * DAY), "not even if its clock is wrong"
    first.keys.write()
    second.keys.write()
    second.hear(first)
    first.hear(second)
    assert first.has("a") == second.has("a") == ProofKey(key(1), NOW)
    assert not second.keys.agree("blink", "a", key(2), NOW), "who asked before it was told"
    assert ProofKeys(either_secrets).get("blink", "a") == ProofKey(key(1), NOW)


def test_what_an_operator_says_is_overwritten_by_no_other_server(either_secrets: Tables) -> None:
    first, second = Server(either_secrets), Server(either_secrets)
    second.keys.agree("blink", "a", key(2), NOW)
    second.keys.agree("blink", "same", key(3), NOW)
    first.keys.enrol("blink", "a", key(1), NOW)
    first.keys.enrol("blink", "same", key(3), NOW)
    second.keys.write()
    for name, number in (("a", 1), ("same", 3)):
        assert second.has(name) == ProofKeys(either_secrets).get("blink", name) == ProofKey(key(number), None, NOW)
    assert not second.keys.show("blink", "a", key(2), "192.0.2.1", NOW + 1)
    first.keys.enrol("blink", "a", key(4), NOW + 2)
    second.keys.write()
    first.hear(second)
    assert first.has("a") == second.has("a") == ProofKey(key(4), None, NOW + 2)
    first.keys.close(NOW + 3)
    second.keys.close(NOW + 4)
    second.hear(first)
    assert first.keys.closed == second.keys.closed == NOW + 3
    second.keys.forget("blink", "a")
    second.keys.reopen()
    first.hear(second)
    assert (first.has("a"), first.keys.closed) == (None, None)


def test_bounds_hold_over_all_servers(either_secrets: Tables) -> None:
    servers = first, second = Server(either_secrets), Server(either_secrets)
    first.keys.enrol("blink", "bench", key(0), NOW)
    for number in range(1, 41):
        for server, name in zip(servers, "ab", strict=True):
            assert server.keys.agree("blink", f"{name}{number}", key(number), NOW + number)
            server.keys.write()
        first.hear(second)
        second.hear(first)
    for keys in (first.keys, second.keys, ProofKeys(either_secrets, limit=100)):
        assert keys.counts()["agreed"] <= 10 + len(servers)
        assert keys.get("blink", "bench") is not None
        assert keys.get("blink", "a40") is not None


def test_a_known_key_that_another_server_tells_of_takes_no_place_of_the_new_ones(either_secrets: Tables) -> None:
    first, second = Server(either_secrets), Server(either_secrets)
    first.keys.agree("blink", "old", key(1), NOW)
    first.keys.write()
    second.keys.load()
    later = NOW + 2 * DAY
    assert not first.keys.show("blink", "old", key(2), "192.0.2.1", later)
    assert second.keys.agree("blink", "young", key(3), later)
    first.keys.write()
    second.hear(first)
    assert second.keys.waiting("blink", "old") == (key(2), later, "192.0.2.1", later)
    for number in range(30):
        assert second.keys.agree("blink", f"flood{number}", key(number), later + 1)
    assert second.has("old") == ProofKey(key(1), NOW)


def test_no_request_waits_or_finds_less_while_keys_are_loaded_anew(tmp_path: Path) -> None:
    with Secrets(tmp_path / SECRETS_FILE) as secrets:
        reading, going_on = threading.Event(), threading.Event()

        class Slow(Secrets):
            def query(self, statement: str, values: Values = ()) -> list[Any]:
                reading.set()
                assert going_on.wait(30)
                return super().query(statement, values)

        ProofKeys(secrets).enrol("blink", "a", key(1), NOW)
        going_on.set()
        with Slow(tmp_path / SECRETS_FILE) as slow:
            keys = ProofKeys(slow)
            reading.clear()
            going_on.clear()
            loading = threading.Thread(target=keys.load)
            loading.start()
            assert reading.wait(30)
            assert keys.get("blink", "a") == ProofKey(key(1), None, NOW)
            assert not keys.agree("blink", "a", key(2), NOW)
            assert keys.agree("blink", "b", key(3), NOW)
            going_on.set()
            loading.join(30)
        assert keys.get("blink", "a") == ProofKey(key(1), None, NOW)
        assert keys.get("blink", "b") == ProofKey(key(3), NOW)
        assert keys.changed, "what was agreed meanwhile is still to be written"
