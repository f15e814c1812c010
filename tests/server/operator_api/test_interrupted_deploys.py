"""Ctrl-C in the middle of a deployment says what is published and what is not, and so does the exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal.cli import parser
from support.command import TOOLS, process, take_interrupts
from support.servers import SECONDS, Running, operator, publish, until

SIZE = 200_000


class Relay:
    """A port before a server's: the connection that has sent half of a firmware, or all of it, is not relayed on.

    `held` is "request" for an upload of which the rest never arrives, "answer" for one whose answer never does.
    """

    def __init__(self, port: int, held: str) -> None:
        self._target, self.held = port, held
        self.holds = threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self._ends = contextlib.ExitStack()
        self._ends.enter_context(self.listening)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._ends.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target), SECONDS)
                for one in (client, server):
                    self._ends.enter_context(one)
                kept_back = threading.Event()
                threading.Thread(target=self._ask, args=(client, server, kept_back), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client, kept_back), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, kept_back: threading.Event) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := client.recv(16384):
                passed += len(data)
                if passed > SIZE // 2:
                    kept_back.set()
                    self.holds.set()
                    if self.held == "request":
                        continue
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket, kept_back: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(16384):
                if not kept_back.is_set():
                    client.sendall(data)
            client.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(port: int, held: str) -> Iterator[Relay]:
    one = Relay(port, held)
    try:
        yield one
    finally:
        one.close()


def given_out(server: Running) -> str:
    return str(operator(server).get("/v1/products/blink/releases")["channels"]["stable"]["version"])


def releases(server: Running) -> list[str]:
    return [one["version"] for one in operator(server).get("/v1/products/blink/releases")["releases"]]


def sleeps(pid: int) -> bool:
    """Whether a process waits for something (proc(5): its state stands behind its name in parentheses)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")


def interrupt(server: Running, before: Relay, folder: Path, *options: str) -> str:
    """Deploy 2.0 through the relay, press Ctrl-C when it holds, and return what is said."""
    (folder / "f").write_bytes(server.world.firmware(2, size=SIZE).signed)
    command = [sys.executable, "-m", "otaseal", "deploy", "f", "--version", "2.0", "--no-rehearse", *options]
    command += ["--server", f"https://localhost:{before.port}", "--product", "blink", "--ca", str(server.world.ca)]
    environment = {"PYTHONPATH": str(TOOLS), "PATH": os.environ["PATH"], "OTASEAL_TOKEN": server.token}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder, preexec_fn=take_interrupts
    ) as deploying:
        assert before.holds.wait(SECONDS)
        if before.held == "answer":
            until(lambda: given_out(server) == "2.0", "not published")
        # An interrupt between two steps may meet a destructor, in which Python prints it and goes on.
        until(lambda: sleeps(deploying.pid), "it waits for no answer")
        deploying.send_signal(signal.SIGINT)
        _, said = deploying.communicate(timeout=SECONDS)
    assert deploying.returncode == 130
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("request", "interrupted: '2.0' is not published, channel 'stable' gives out '1.0' to 100 % of the devices"),
        ("answer", "interrupted: '2.0' is published, channel 'stable' gives out '2.0' to 30 % of the devices"),
    ],
)
def test_an_interrupted_deployment_says_what_is_published(
    server: Running, tmp_path: Path, held: str, told: str
) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    with relay(server.operators, held) as before:
        said = interrupt(server, before, tmp_path, "--percent", "30")
    assert f"otaseal: {told}\n" in said
    assert ("2.0" in releases(server)) is (held == "answer")


@pytest.mark.parametrize("command", ["deploy", "promote"])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--percent", "101", "'101' is not a percentage"),
        ("--percent", "-1", "'-1' is not a percentage"),
        ("--percent", "ten", "'ten' is not a percentage"),
        ("--max-failed", "101", "'101' is not a percentage of failures"),
        ("--patience", "0", "'0' is not a valid number of minutes"),
    ],
)
def test_a_number_that_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, command: str, option: str, value: str, message: str
) -> None:
    """Neither the file nor the server is there: nobody looks at them."""
    process(command, "missing", f"{option}={value}", "--server", "https://localhost:1", cwd=tmp_path).failed(2, message)


def test_errors_as_json_have_the_fields_of_the_servers(server: Running, tmp_path: Path) -> None:
    schema = operator(server).get("/openapi.json")["components"]["schemas"]["Error"]
    for arguments, code in (
        (["releases", "--server", server.url, "--product", "lamp", "--ca", server.world.ca], 1),
        (["releases", "--no-such-option"], 2),
        (["serve", "--store", "s", "--cert", "c", "--key", "k"], 3),
    ):
        done = process(*arguments, "--json", cwd=tmp_path, OTASEAL_TOKEN=server.token)
        assert (done.code, done.out) == (code, "")
        said = json.loads(done.err)
        assert list(said) == schema["required"] == list(schema["properties"])
        assert all(isinstance(value, str) for value in said.values())


def test_the_help_names_every_default() -> None:
    def walk(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for one in action.choices.values():
                    yield from walk(one)
            elif action.option_strings:
                yield action

    said = [one for one in walk(parser("")) if one.default not in (None, False, "", [], argparse.SUPPRESS)]
    assert len(said) > 10
    for one in said:
        assert "default" in (one.help or ""), one.option_strings
