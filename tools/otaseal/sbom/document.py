"""An SBOM as it is read: shown to people, told whether it is that of a firmware, and made one of several boards."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..release import attachments

Document = dict[str, Any]

UNKNOWN = "unknown"
FORM = "otaseal:sha256:"
"""Begins the names of properties with the hashes of signed files."""
_HINT = "give one that otaseal wrote: custom_otaseal_sbom = yes"


def parse(data: bytes) -> Document:
    """Return an SBOM in CycloneDX JSON; raises InputError."""
    found = attachments.parse(attachments.SBOM, data)
    component = found.get("metadata", {}).get("component") if isinstance(found.get("metadata"), dict) else None
    if found.get("bomFormat") != "CycloneDX" or not isinstance(component, dict):
        raise InputError("this is no SBOM of a firmware in CycloneDX", _HINT)
    if not all(isinstance(one, dict) for one in found.get("components", [])):
        raise InputError("the SBOM's components cannot be read", _HINT)
    return found


def is_of(found: Document, signed: bytes) -> bool:
    """Tell whether an SBOM is that of these signed bytes: of one form of the firmware, for one of its boards."""
    digest = hashlib.sha256(signed).hexdigest()
    firmwares = [
        found["metadata"]["component"],
        *(part for part in found.get("components", []) if "components" in part),
    ]
    named = (one for firmware in firmwares for one in firmware.get("properties", []))
    return any(str(one.get("name")).startswith(FORM) and one.get("value") == digest for one in named)


def require(data: bytes, signed: Sequence[bytes]) -> None:
    """Raise InputError unless `data` is the SBOM of these signed files."""
    found = parse(data)
    if not all(is_of(found, one) for one in signed):
        raise InputError("the SBOM is that of another firmware", "give the one that was built with it")


def lines(found: Document) -> list[str]:
    """Return an SBOM for people: the firmware, and a line for each part, of several boards below each."""
    component = found["metadata"]["component"]
    shown = [f"{component.get('name')} {component.get('version') or UNKNOWN}: {found.get('serialNumber', '')}"]
    for part in found.get("components", []):
        if "components" in part:
            shown.append(f"board {part.get('name')}")
        shown += [_line(one) for one in part.get("components", [part])]
    return shown


def _line(part: Document) -> str:
    kind = next((one["value"] for one in part.get("properties", []) if one.get("name") == "otaseal:kind"), "")
    licences = [
        one.get("expression") or one.get("license", {}).get("id") or one.get("license", {}).get("name", "")
        for one in part.get("licenses", [])
    ]
    licence = ", ".join(licences) or UNKNOWN
    return f"{kind or part.get('type', ''):<10} {part.get('name')} {part.get('version') or UNKNOWN}  {licence}"


def merged(name: str, version: str, found: Mapping[str, Document]) -> bytes:
    """Return one document for the boards of a release, by environment: each firmware is a part, with its own parts."""
    first = next(iter(found.values()))
    product = {"bom-ref": f"product:{name}", "type": "application", "name": name, "version": version}
    dependencies: list[Document] = [
        {"ref": product["bom-ref"], "dependsOn": [f"{environment}/{_root(one)}" for environment, one in found.items()]}
    ]
    components = []
    for environment, one in found.items():
        own = _prefixed(one["metadata"]["component"], environment)
        own |= {"name": environment, "components": [_prefixed(part, environment) for part in one["components"]]}
        components.append(own)
        for dependency in one.get("dependencies", []):
            made: Document = {"ref": f"{environment}/{dependency['ref']}"}
            if "dependsOn" in dependency:
                made["dependsOn"] = [f"{environment}/{part}" for part in dependency["dependsOn"]]
            dependencies.append(made)
    document: Document = {
        **{key: first[key] for key in ("$schema", "bomFormat", "specVersion", "version") if key in first},
        "metadata": {**first["metadata"], "component": product},
        "components": components,
        "dependencies": dependencies,
    }
    text = json.dumps(document, sort_keys=True)
    serial = uuid.uuid5(uuid.NAMESPACE_OID, text).urn
    return json.dumps({**document, "serialNumber": serial}, indent=1, sort_keys=True).encode() + b"\n"


def _root(found: Document) -> str:
    return str(found["metadata"]["component"]["bom-ref"])


def _prefixed(part: Document, environment: str) -> Document:
    return {**part, "bom-ref": f"{environment}/{part['bom-ref']}"}
