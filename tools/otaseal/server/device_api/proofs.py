"""Who asks: the name under which a request is answered, and what proves it. Nothing here waits for anything.

A name whose key is known is that of whoever proves it, from anywhere. Who says it without is somebody else, with a row
of his own, and changes nothing of the device's. A key that nobody had before is taken from the place where the device
is at home: what that very request says counts as without proof, and the next one is proven (docs/adr/0020-proof.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import SystemFaultError
from ...protocol.proof import AFTER, UNKNOWN, WRONG, Proof, Verifier, name_of
from ...release.evidence import UNPROVEN_PREFIX
from ...store.device_rows import Asking
from ...store.proof_key_rows import ProofKey
from ...store.proof_keys import ProofKeys
from ..telemetry import Telemetry, labelled
from .recorder import Recorder

NONE, AGREED = "none", "agreed"
"""Results that no answer names. Proofs that hold are not counted: nearly all do, and a count would cost as much."""
_COUNTERS = {
    result: labelled("otaseal_proofs_total", result=result) for result in (NONE, AGREED, UNKNOWN, WRONG, AFTER)
}


class Standing(NamedTuple):
    """The name under which a request is answered: None for a client that says none.

    `proven` and `enrolled` are as in a Sighting; `accepted`: it is proven well enough for `serve --require-proof`.
    """

    device: str | None = None
    proven: bool = False
    enrolled: float | None = None
    accepted: bool = False


class Identity(NamedTuple):
    """Who sent one request: the number of its proof by a key, and what is answered to a proof that does not hold.

    `met`: this very request made its key known, and is proven by that, though what it says counts as without proof.
    """

    standing: Standing
    sequence: int | None = None
    answer: str = ""
    met: bool = False


class Claim:
    """What a request for a `product` says without proof: that its MAC address is `mac`; its proof is over `text`.

    Remembered with it is how it is answered, `proven` by the `key` that it proved last or `unproven`, and a `verifier`.
    """

    __slots__ = ("device", "key", "mac", "name", "product", "proven", "text", "unproven", "verifier")

    def __init__(self, product: str, mac: str, text: bytes) -> None:
        self.product, self.mac, self.text = product, mac, text
        self.name, self.device = name_of(mac), f"mac:{mac}"
        self.key: ProofKey | None = None
        self.proven = self.unproven = Standing(UNPROVEN_PREFIX + mac)
        self.verifier: Verifier | None = None

    def is_shown(self, said: Proof) -> bool:
        """Return whether a proof shows a key, and who has that key made it."""
        return said.key is not None and said.name == self.name and Verifier(said.key, self.text).holds(said)


@dataclass(frozen=True)
class ProofCheck:
    """Tells devices that prove their names from others."""

    keys: ProofKeys
    recorder: Recorder
    telemetry: Telemetry

    def identify(self, claim: Claim, said: Proof | None, network: str) -> Identity:
        """Return who sends a request from `network` with that proof, None for none."""
        product, device = claim.product, claim.device
        key = self.keys.get(product, device)
        if said is None:
            if key is None:
                return Identity(Standing(device))
            return self._unproven(claim, NONE)
        if key is None:
            return self._meet(claim, said, network)
        verifier = claim.verifier
        if verifier is None or verifier.key is not key.key:
            claim.verifier = verifier = Verifier(key.key, claim.text)
        if said.name != claim.name or not verifier.holds(said):
            return self._refuse(claim, said, network)
        last = self.keys.advance(product, device, said.sequence, time.time())
        if last is not None:
            return self._unproven(claim, AFTER, f"{AFTER} {last}")
        if claim.key is not key:
            claim.key, claim.proven = key, Standing(device, True, key.enrolled, self.keys.accepts(key))
        return Identity(claim.proven, said.sequence)

    def _meet(self, claim: Claim, said: Proof, network: str) -> Identity:
        """Take the key of a device of which none is known, if it shows one, and speaks from where it is at home."""
        now, result = time.time(), UNKNOWN
        if (
            said.key is not None
            and claim.is_shown(said)
            and self._at_home(claim, network, now)
            and self.keys.agree(claim.product, claim.device, said.key, now)
        ):
            self.keys.advance(claim.product, claim.device, said.sequence, now)
            result = AGREED
        self.telemetry.add(_COUNTERS[result])
        met = result == AGREED
        return Identity(Standing(claim.device), answer="" if met else UNKNOWN, met=met)

    def _refuse(self, claim: Claim, said: Proof, network: str) -> Identity:
        """Answer a proof by another key than the known one: it waits for an operator, or until that one is given up."""
        product, device, key = claim.product, claim.device, said.key
        if key is None or not claim.is_shown(said):
            return self._unproven(claim, WRONG, WRONG)
        now, waiting = time.time(), self.keys.waiting(product, device)
        places = () if waiting is None or waiting.key == key else (network, waiting.address)
        if [self._at_home(claim, place, now) for place in places] == [True, False]:
            self.keys.end_waiting(product, device)  # somebody elsewhere has kept the place until the device needs it
        if self.keys.show(product, device, key, network, now):
            self.keys.advance(product, device, said.sequence, now)
            return self._unproven(claim, AGREED)
        return self._unproven(claim, WRONG, WRONG)

    def _unproven(self, claim: Claim, result: str, answer: str = "") -> Identity:
        """Return that somebody says a name that is another's."""
        self.telemetry.add(_COUNTERS[result])
        return Identity(claim.unproven, answer=answer)

    def _at_home(self, claim: Claim, network: str, now: float) -> bool:
        """Return whether the device, if it was seen before, is at home where this comes from."""
        try:
            return self.recorder.at_home(Asking(claim.product, claim.device, network), now)
        except SystemFaultError:
            return False
