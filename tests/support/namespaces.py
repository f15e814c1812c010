"""Machines of their own on one: network namespaces on a bridge, any two of which can be cut off from each other.

The tests reach all of them, at the bridge's own address. What is cut off loses its packets in silence, those of open
connections, too: the neighbour's entry leads to an Ethernet address that nobody has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import pytest

NOBODY = "02:00:00:00:00:01"


@cache
def _missing() -> str:
    """Return why there can be no namespaces here, "" where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not (shutil.which("ip") and shutil.which("nsenter")):
        return "network namespaces need ip and nsenter (packages iproute2, util-linux)"
    name = f"otaseal-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "network namespaces are not allowed here"
    _ip("netns", "del", name)
    return ""


def require() -> None:
    """Skip the test where there can be no namespaces."""
    if missing := _missing():
        pytest.skip(missing)


def entered(namespace: str) -> list[str]:
    """Return the command that runs another one within a namespace."""
    return ["nsenter", f"--net=/run/netns/{namespace}"]


@dataclass(frozen=True)
class Network:
    """Namespaces that reach each other, by the name of the machine; `number` tells networks apart."""

    number: int
    machines: Sequence[str]

    def namespace(self, machine: str) -> str:
        """Return the name of a machine's namespace."""
        return f"otaseal{self.number}-{machine}"

    def address(self, machine: str) -> str:
        """Return a machine's address."""
        return f"10.231.{self.number}.{11 + self.machines.index(machine)}"

    @property
    def outside(self) -> str:
        """The address that the tests connect from."""
        return f"10.231.{self.number}.1"

    def cut(self, one: str, other: str) -> None:
        """Let no packet pass between two machines."""
        for here, there in ((one, other), (other, one)):
            self._neighbour(here, "replace", self.address(there), "lladdr", NOBODY, "nud", "permanent")

    def heal(self, one: str, other: str) -> None:
        """Let them pass again."""
        for here, there in ((one, other), (other, one)):
            self._neighbour(here, "del", self.address(there))

    def _neighbour(self, machine: str, *arguments: str) -> None:
        _ip("-n", self.namespace(machine), "neigh", *arguments, "dev", "eth0")


@contextlib.contextmanager
def network(*machines: str) -> Iterator[Network]:
    """Make a network, which is gone at the end of the block."""
    require()
    with contextlib.ExitStack() as stack:
        made = Network(_free_number(stack), machines)
        bridge = f"otaseal{made.number}"
        _ip("addr", "add", f"{made.outside}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, machine in enumerate(machines):
            name, port = made.namespace(machine), f"ota{made.number}-{number}"
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)  # its link goes with it
            _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", port, "master", bridge, "up")
            _ip("-n", name, "addr", "add", f"{made.address(machine)}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-n", name, "link", "set", link, "up")
        yield made


def _free_number(stack: contextlib.ExitStack) -> int:
    """Make a bridge with a number that no other run of tests has."""
    for number in range(256):
        bridge = f"otaseal{number}"
        done = subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], capture_output=True, check=False)
        if done.returncode == 0:
            stack.callback(_ip, "link", "del", bridge)
            return number
    raise AssertionError("there is no free number for a bridge")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
