"""Who built a release, from what: an in-toto statement (SLSA provenance v1) in a DSSE envelope.

Pure. It is signed by the key that signs the releases, or by one that builds sign with. Sources:
in-toto.io/Statement/v1, slsa.dev/provenance/v1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, VerificationError
from . import dsse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import Signer

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
BUILD_TYPE = "tag:otaseal,2026:platformio/v1"
"""What the parameters of a build mean: docs/provenance.md."""
URI = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]{1,500}")
"""Of a builder."""
_HINT = "make it again with the build that it is of"


@dataclass(frozen=True)
class Build:
    """How a release was built: `builder` is a URI that says by whom, `invocation` one of that very run, or "".

    `parameters` are what was asked for, as product, version and environment; `commit` is git's, "" where there is none;
    `finished` is in RFC 3339.
    """

    builder: str
    parameters: Mapping[str, str]
    commit: str
    finished: str
    invocation: str = ""


@dataclass(frozen=True)
class Builders:
    """Whose builds a server takes: those that `names` has, of anybody where it is empty (see `check`).

    `keys` are those that builds sign with beside the product's own; `required`: no release comes without provenance.
    """

    required: bool = False
    names: tuple[str, ...] = ()
    keys: tuple[RSAPublicKey, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """What a statement says: the SHA-256 of each file by name, and by whom they were built."""

    subjects: Mapping[str, str]
    builder: str
    commit: str
    finished: str


def statement(files: Mapping[str, bytes], build: Build, materials: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the in-toto statement that `build` made the `files`.

    `materials` are the SHA-256 in hex of what they were made from, or are made of, by name.
    """
    dependencies: list[dict[str, Any]] = []
    if build.commit:
        dependencies.append({"name": "source", "digest": {"gitCommit": build.commit}})
    dependencies += [{"name": name, "digest": {"sha256": digest}} for name, digest in (materials or {}).items()]
    metadata = {"finishedOn": build.finished, **({"invocationId": build.invocation} if build.invocation else {})}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": _sha256(data)}} for name, data in files.items()],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(build.parameters),
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": build.builder}, "metadata": metadata},
        },
    }


def sign(value: Mapping[str, Any], signer: Signer) -> bytes:
    """Return the envelope, JSON, in which `signer` signs a statement."""
    return dsse.seal(value, PAYLOAD_TYPE, signer)


def read(data: bytes) -> Provenance:
    """Return what an envelope says, whoever signed it: of one that was verified before; raises InputError."""
    return _parse(dsse.payload_of(data, PAYLOAD_TYPE, "the provenance"))


def verify(data: bytes, keys: Sequence[RSAPublicKey]) -> Provenance:
    """Return what an envelope says that one of `keys` signed.

    Raises InputError for what is no such envelope or statement, VerificationError where none of the keys signed it.
    """
    return _parse(dsse.verify(data, PAYLOAD_TYPE, keys, "the provenance"))


def check(found: Provenance, files: Iterable[bytes], builders: Sequence[str] = ()) -> None:
    """Raise VerificationError unless each of `files` is a subject, and the builder among `builders`, if there are any.

    A builder that ends with `*` stands for all that begin so.
    """
    known = set(found.subjects.values())
    for data in files:
        if (digest := _sha256(data)) not in known:
            raise VerificationError(f"the provenance is not of the file with the SHA-256 '{digest}'", _HINT)
    if builders and not any(_is_named(found.builder, builder) for builder in builders):
        raise VerificationError(
            f"the provenance names the builder '{found.builder[:200]}'", f"only these may build: {', '.join(builders)}"
        )


def admit(data: bytes | None, files: Iterable[bytes], keys: Sequence[RSAPublicKey], builders: Builders) -> None:
    """Check the provenance of a release (None: it has none), whose product has `keys`; raises as `verify`, `check`.

    Raises VerificationError where `builders` ask for one that is not there.
    """
    if data is not None:
        check(verify(data, [*keys, *builders.keys]), files, builders.names)
    elif builders.required:
        raise VerificationError(
            "the release comes without provenance, and this server takes none without",
            "set custom_otaseal_provenance = yes and deploy from the build, or give --provenance",
        )


def _is_named(builder: str, pattern: str) -> bool:
    return builder.startswith(pattern[:-1]) if pattern.endswith("*") else builder == pattern


def _parse(payload: bytes) -> Provenance:
    """Return what a statement says; raises InputError."""
    try:
        value = json.loads(payload)
        if (value["_type"], value["predicateType"]) != (STATEMENT, PREDICATE):
            raise InputError(
                f"the statement is a '{str(value['predicateType'])[:80]}'", f"a provenance is a {PREDICATE}"
            )
        details, definition = value["predicate"]["runDetails"], value["predicate"]["buildDefinition"]
        dependencies = definition.get("resolvedDependencies", [])
        commits = [entry["digest"]["gitCommit"] for entry in dependencies if "gitCommit" in entry.get("digest", {})]
        return Provenance(
            subjects={str(entry["name"]): str(entry["digest"]["sha256"]) for entry in value["subject"]},
            builder=str(details["builder"]["id"]),
            commit=str(commits[0]) if commits else "",
            finished=str(details.get("metadata", {}).get("finishedOn", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError("the provenance's statement is damaged", _HINT) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
