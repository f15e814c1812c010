"""Webhooks: signed as openssl computes it, tried again, bounded, over verified TLS alone, and their secrets nowhere."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.errors import ConfigError
from otaseal.server import webhooks
from otaseal.server.telemetry import DeviceEvent, Event, Telemetry
from otaseal.server.webhooks import MAX_WAITING, Hook, Message, Sender, read_hook
from support.hooked import Received, receiving
from support.servers import StartServer, World, as_device, operator, publish, talk, until

SECRET = bytes(range(32))
LINE = "whsec_" + base64.b64encode(SECRET).decode()


def signature(message: Received) -> str:
    """Return the signature that a message should have, by openssl."""
    head = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{SECRET.hex()}", "-binary"]
    done = subprocess.run(command, input=head + message.body, capture_output=True, check=True)
    return "v1," + base64.b64encode(done.stdout).decode()


class Told:
    """Telemetry, and what it was told."""

    def __init__(self) -> None:
        self.events: list[Event | DeviceEvent] = []
        self.telemetry = Telemetry(self.events.append)

    def results(self) -> dict[str, int]:
        lines = [one for one in self.telemetry.prometheus({}).splitlines() if one.startswith("otaseal_webhooks_total{")]
        return {line.split('"')[1]: int(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    assert not [one for one in told.events if "path" in one.as_line() or LINE in one.as_line()], "an address is secret"


def hook_file(folder: Path, url: str) -> Path:
    path = folder / "hook"
    path.write_text(f"{url}\n{LINE}\n")
    return path


def test_secrets_that_others_can_read_are_named_once(world: World, start_server: StartServer, tmp_path: Path) -> None:
    hooks = []
    for mode in (0o644, 0o600):
        (tmp_path / f"{mode:o}").mkdir()
        hooks.append(hook_file(tmp_path / f"{mode:o}", "http://localhost:9/"))
        hooks[-1].chmod(mode)
    server = start_server("--webhook", hooks[0], "--webhook", hooks[1])
    server.logs("readable", f"file={hooks[0]}", "mode 0644")
    assert sum("others on this machine can read" in line for line in server.lines()) == 1


@pytest.mark.proof
def test_a_halt_is_told_at_once_and_its_end_and_that_a_rollout_is_over(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    with receiving(world.chain, world.chain.with_name("key.pem")) as receiver:
        hook = hook_file(tmp_path, f"{receiver.url}/path?of=us")
        server = start_server("--webhook", hook, environment={"SSL_CERT_FILE": str(world.ca)})
        old, new, context = world.firmware(1), world.firmware(2), world.context()

        def poll(firmware: object) -> None:
            talk(context, server.port, as_device("/blink/firmware.bin.signed", firmware))  # type: ignore[arg-type]

        publish(server, "1.0", old.signed)
        poll(old)
        publish(server, "2.0", new.signed)
        poll(old)
        poll(old)
        until(lambda: len(receiver.received) == 1, "the halt is not told")
        operator(server).post("/v1/products/blink/channels/stable/rollback", {})
        until(lambda: len(receiver.received) == 3, "its end is not told, or that all have 1.0 again")
    said = [json.loads(one.body) for one in receiver.received]
    assert sorted(one["type"] for one in said) == ["alarm.began", "alarm.ended", "rollout.completed"]
    assert (said[0]["data"]["kind"], said[0]["data"]["product"]) == ("halted", "blink")
    (over,) = [one["data"] for one in said if one["type"] == "rollout.completed"]
    assert over == {"product": "blink", "channel": "stable", "version": "1.0", "devices": 1}
    for message in receiver.received:
        assert message.path == "/path?of=us"
        assert message.headers["webhook-signature"] == signature(message)
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 3
    assert LINE not in server.log.read_text()


def test_what_is_refused_is_tried_again_under_the_same_id_and_given_up_in_the_end(told: Told) -> None:
    with receiving() as receiver:
        receiver.statuses = [500, 302, 200, 503, 503, 503]
        sender = Sender(Hook(receiver.url + "/path", SECRET), told.telemetry, (0.01, 0.01))
        first, second = Message.make("alarm.began", {"text": "ü"}), Message.make("alarm.ended", {})
        sender.put(first)
        sender.put(second)
        until(lambda: told.results() == {"delivered": 1, "given up": 1}, str(told.results()))
        sender.close()
    assert [one.headers["webhook-id"] for one in receiver.received] == [first.id] * 3 + [second.id] * 3
    assert {one.path for one in receiver.received} == {"/path"}, "no redirect is followed"
    assert all(one.headers["webhook-signature"] == signature(one) for one in receiver.received)


def test_without_a_receiver_the_oldest_messages_go_and_nobody_waits(told: Told) -> None:
    with receiving() as receiver:
        url = receiver.url
    sender = Sender(Hook(url + "/path", SECRET), told.telemetry, (60.0,))
    sender.put(Message.make("first", {}))
    until(lambda: bool(told.events), "the first is not tried")
    for _ in range(MAX_WAITING + 5):
        sender.put(Message.make("more", {}))
    assert told.results() == {"dropped": 5}
    sender.close()
    assert not sender._thread.is_alive(), "a pause is no reason to stay"


def test_a_server_that_no_authority_of_ours_has_signed_gets_nothing(world: World, told: Told) -> None:
    with receiving(world.chain, world.chain.with_name("key.pem")) as receiver:
        sender = Sender(Hook(receiver.url + "/path", SECRET), told.telemetry, ())
        sender.put(Message.make("alarm.began", {}))
        until(lambda: told.results() == {"given up": 1}, "it is not given up")
        sender.close()
    assert receiver.received == []
    assert "TLS: " in told.events[0].as_line()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("https://example.org/x\n", "has 1 line"),
        (f"http://example.org/x\n{LINE}", "'example.org' without TLS"),
        (f"http://127.0.0.1.example.org/x\n{LINE}", "without TLS"),
        (f"ftp://example.org/x\n{LINE}", "no address of a webhook"),
        (f"https://me:secret@example.org/x\n{LINE}", "no address of a webhook"),
        (f"https://example.org:port/x\n{LINE}", "no address of a webhook"),
        (f"https://exa mple.org/x\n{LINE}", "no address of a webhook"),
        ("https://example.org/x\nwhsec_c2hvcnQ=", "no secret of a webhook"),
        ("https://example.org/x\nwhsec_***", "no secret of a webhook"),
        ("https://example.org/x\npassword", "no secret of a webhook"),
    ],
)
def test_a_file_that_is_no_webhook_is_refused(tmp_path: Path, lines: str, why: str) -> None:
    path = tmp_path / "hook"
    path.write_text(lines)
    with pytest.raises(ConfigError, match=why) as caught:
        read_hook(path)
    assert "secret@" not in caught.value.message
    assert LINE not in caught.value.message


def test_an_address_on_this_machine_needs_no_tls_and_nothing_prints_itself(tmp_path: Path) -> None:
    for url in ("http://localhost:8080/x", "http://127.0.0.1/x", "http://[::1]:8080/x", "https://example.org"):
        hook = read_hook(hook_file(tmp_path, url))
        assert (hook.url, hook.secret) == (url, SECRET)
        assert repr(hook) == "Hook()"
    assert webhooks.SECRET_BYTES.start * 8 == 192, "the scheme asks for 24 to 64 bytes"
