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
from ...protocol.proof import AFTER, UNKNOWN, WRONG, Proof, Said, holds, name_of
from ...release.evidence import UNPROVEN_PREFIX
from ...store.device_rows import Asking
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


class Claim(NamedTuple):
    """What a request for a `product` says without proof: that its MAC address is `mac`; proofs are over `said`."""

    product: str
    mac: str
    said: Said

    @property
    def device(self) -> str:
        """The name that is claimed."""
        return f"mac:{self.mac}"

    def is_proven(self, proof: Proof, key: bytes) -> bool:
        """Return whether who has that key made the proof, of this very name."""
        return proof.name == name_of(self.mac) and holds(proof, key, self.said.by(self.mac))

    def is_shown(self, proof: Proof) -> bool:
        """Return whether a proof shows a key, and who has that key made it."""
        return proof.key is not None and self.is_proven(proof, proof.key)


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
        if not claim.is_proven(said, key.key):
            return self._refuse(claim, said, network)
        last = self.keys.advance(product, device, said.sequence, time.time())
        if last is not None:
            return self._unproven(claim, AFTER, f"{AFTER} {last}")
        return Identity(Standing(device, True, key.enrolled, self.keys.accepts(key)), said.sequence)

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
        return Identity(Standing(UNPROVEN_PREFIX + claim.mac), answer=answer)

    def _at_home(self, claim: Claim, network: str, now: float) -> bool:
        """Return whether the device, if it was seen before, is at home where this comes from."""
        try:
            return self.recorder.at_home(Asking(claim.product, claim.device, network), now)
        except SystemFaultError:
            return False
