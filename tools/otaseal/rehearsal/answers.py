"""What the update server would answer a device about a release that it does not have yet: its own decisions.

`protocol` decides, as it does on the server; the bytes are those that would be stored. A candidate that no server would
admit is sent all the same, with the headers that a device needs, so that the device's own verdict can be seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..chips import images
from ..errors import InputError
from ..protocol import decisions
from ..release.records import Release
from .candidate import Candidate
from .loopback import Request, response

__all__ = ["CandidateServer"]


@dataclass(frozen=True)
class CandidateServer:
    """Answers requests with `candidate`; `old` is the image that the device runs, `known` the server's releases."""

    candidate: Candidate
    old: bytes = field(repr=False)
    known: tuple[Release, ...] = ()

    def __call__(self, request: Request) -> bytes:
        """Return the response to `request`."""
        try:
            asked = decisions.parse_request(request.method, request.headers)
        except InputError as error:
            return response(400, (("Content-Length", str(len(error.message))),), error.message.encode())
        if self.candidate.refusal is not None:
            return self._unadmitted(asked)
        release = self.candidate.release
        known = decisions.known_images((release, *self._known))
        decision = decisions.decide(asked, release, decisions.State(known))
        body = decision.body if decision.form is None else self.candidate.body(decision.form.blob)
        return response(decision.status, decision.headers, body)

    @cached_property
    def _known(self) -> tuple[Release, ...]:
        """The server's releases; a twin, or any image where it knows none, counts as one built as this is."""
        release = self.candidate.release
        if self.known and self.old != self.candidate.twin:
            return self.known
        digests = images.parse(self.old).sketch_digests()
        return (*self.known, replace(release, version=f"{release.version}-before", sketch_md5=digests))

    def _unadmitted(self, asked: decisions.UpdateRequest) -> bytes:
        body = self.candidate.forms[0].data
        try:
            current = asked.sketch_md5 in self.candidate.forms[0].image.sketch_digests()
        except InputError:
            current = False
        if current:
            return response(304)
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        return response(200, (("Content-Length", str(len(body))), ("x-MD5", md5)), body)
