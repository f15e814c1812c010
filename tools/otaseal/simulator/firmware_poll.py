"""A poll for firmware as ESPhttpUpdate does it, to what the ESP8266's updater and eboot make of it."""

from __future__ import annotations

from dataclasses import replace

from . import flash as chip
from . import library, updater
from .core import core_rules
from .eboot import restart
from .http_client import Body, Response
from .http_update import claims, judge_answer, judge_first_bytes
from .poll import UpdatePoll
from .report import Result, Step
from .updater import Setup, Staged


class FirmwarePoll(UpdatePoll):
    """A poll for firmware, as ESPhttpUpdate does it."""

    def claims(self) -> dict[str, str]:
        """Return what the device says of itself (F28)."""
        return claims(self.device)

    def judge_response(self, response: Response, body: Body) -> None:
        """Refuse by status, size and room, what was tried often enough, and by the first four bytes."""
        device, rules = self.device, core_rules(self.device.core)
        room = chip.free_space(device.flash, device.layout)
        checked = f"status {response.status}, {response.size} bytes"
        refused = judge_answer(response, rules, room)
        if refused is not None:
            self.refuse(refused[0], checked, refused[1])
        self.passed("answer", checked, "F29")
        self.passed("space", f"{response.size} of {room} bytes", "F10")
        self.refuse_exhausted(response)
        first = body.peek(4)
        fault = judge_first_bytes(first, rules, device.layout.flash_size)
        if fault is not None:
            self.refuse("first-byte", first.hex(), fault)

    def install(self, data: bytes, response: Response) -> None:
        """Run the updater, then eboot."""
        setup = self._setup(response)
        staged = updater.update(self.device.flash, data, setup, response.size)
        self.device = replace(self.device, flash=staged.flash)
        fault, payload = staged.fault, staged.payload
        if fault is not None and staged.step not in ("signature", "image"):
            self.refuse(staged.step, f"{len(data)} of {response.size} bytes", fault)
        self.passed("write", f"{len(data)} bytes at 0x{staged.address:x}")
        own, memory = self.own, self.device.memory
        manifest_fault = None if own is None else library.judge_update(payload, own, memory)
        self.note_attempt(payload, response)
        self.judge_signature(f"{len(payload)} bytes in flash", setup.key, fault if staged.step == "signature" else None)
        self.judge_manifest(payload, manifest_fault)
        if fault is not None:
            self.refuse("image", "what lies in flash", fault)
        self._restart(staged)

    def _setup(self, response: Response) -> Setup:
        device, keys = self.device, self.device.verifying_keys
        return Setup(
            device.core,
            device.layout,
            key=keys[0] if keys else None,
            md5=response.md5 or None,
            next_key=keys[1] if self.own is not None and len(keys) > 1 else None,
        )

    def _restart(self, staged: Staged) -> None:
        assert staged.command is not None
        after = restart(staged.flash, staged.command, self.device.core)
        copied = f"{staged.command.size} bytes from 0x{staged.command.source:x} to 0, {after.written} written"
        whole = after.result == 0 and after.written > 0 and not after.reason
        self.steps.append(Step("copy", copied, whole, after.result, reason=after.reason, fact=after.fact))
        booted = f"boot block and application of {self.device.core}"
        self.steps.append(Step("boot", booted, after.starts, reason=after.reason))
        self.device = replace(self.device, flash=after.flash, session=None)
        if not after.starts or (after.written and not after.intact):
            self.result = Result.BRICKED
        elif after.written:  # otherwise the old firmware runs on, and nobody said why
            self.result = Result.UPDATED
            self._start()

    def _start(self) -> None:
        """Read core and version from the new firmware."""
        device = self.device
        core, identity = device.firmware.core or device.core, device.identity
        self.device = replace(device, core=core, version=identity.version if identity else device.version)
        self.passed("result", f"runs sketch {chip.sketch_md5(device.flash)}, core {core}", "F30")
