"""An SBOM as CycloneDX 1.6 JSON, by cyclonedx-python-lib: of one build always the same bytes.

The serial number comes of the content, every reference is set, and the time is the caller's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .parts import Kind, Part

if TYPE_CHECKING:
    from cyclonedx.model import ExternalReference, Property
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License
    from packageurl import PackageURL

SPACE = uuid.UUID("6f4c1a52-52b5-4dd2-8f0e-6f4b7c0f5f0d")
"""Of serial numbers, which are made of what a document says."""
LINKED = (Kind.FRAMEWORK, Kind.TOOLCHAIN, Kind.LIBRARY)
"""Kinds with something in the firmware; the others only made it."""
PREFIX = "otaseal:"


@dataclass(frozen=True)
class Product:
    """The firmware: name and version, the SHA-256 of its signed files by name, and `properties`: board, flags ..."""

    name: str
    version: str
    files: Mapping[str, str]
    properties: Mapping[str, str] = field(default_factory=dict)


def document(product: Product, parts: Sequence[Part], tools: Mapping[str, str], made: datetime) -> bytes:
    """Return the document; `tools` are those that made it, their versions by name."""
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.tool import ToolRepository
    from cyclonedx.output.json import JsonV1Dot6

    firmware = _firmware(product)
    components = [
        _component(part) for part in sorted(parts, key=lambda one: (one.kind.value, one.name, str(one.folder)))
    ]
    made_by = [
        Component(
            name=name,
            version=version,
            type=ComponentType.APPLICATION,
            bom_ref=f"tool:{name}",
            purl=_tool(name, version),
        )
        for name, version in sorted(tools.items())
    ]
    bom = Bom(
        components=_distinct(components),
        metadata=BomMetaData(component=firmware, tools=ToolRepository(components=made_by), timestamp=made),
        serial_number=SPACE,
    )
    bom.register_dependency(firmware, bom.components)
    bom.serial_number = uuid.uuid5(SPACE, JsonV1Dot6(bom).output_as_string())
    return json.dumps(json.loads(JsonV1Dot6(bom).output_as_string()), indent=1, sort_keys=True).encode() + b"\n"


def _firmware(product: Product) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    digests = list(product.files.values())
    properties = {**product.properties, **{f"sha256:{name}": digest for name, digest in product.files.items()}}
    return Component(
        name=product.name,
        version=product.version or None,
        type=ComponentType.FIRMWARE,
        bom_ref=f"firmware:{product.name}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digests[0])],
        purl=PackageURL("generic", None, product.name, product.version or None),
        properties=_properties(properties),
    )


def _component(part: Part) -> Component:
    from cyclonedx.model.component import Component, ComponentScope, ComponentType
    from packageurl import PackageURL

    types = {Kind.FRAMEWORK: ComponentType.FRAMEWORK, Kind.LIBRARY: ComponentType.LIBRARY}
    kind, namespace, name, version = part.purl
    found = {"kind": part.kind.value, "within": part.within, "files:sha256": part.tree}
    found |= {"commit": part.commit, "upstream": part.upstream}
    return Component(
        name=part.name,
        group=part.owner or None,
        version=part.version or None,
        type=types.get(part.kind, ComponentType.APPLICATION),
        scope=ComponentScope.REQUIRED if part.kind in LINKED else ComponentScope.EXCLUDED,
        bom_ref=f"{part.kind.value}:{part.name}",
        purl=PackageURL(kind, namespace or None, name, version or None),
        cpe=part.cpe or None,
        licenses=_licences(part.licence),
        external_references=_references(part.source),
        properties=_properties({key: value for key, value in found.items() if value}),
    )


def _distinct(components: Sequence[Component]) -> Sequence[Component]:
    """Give each component a reference of its own: two libraries may have one name."""
    seen: dict[str, int] = {}
    for component in components:
        reference = str(component.bom_ref.value)
        seen[reference] = number = seen.get(reference, 0) + 1
        if number > 1:
            component.bom_ref.value = f"{reference}#{number}"
    return components


def _tool(name: str, version: str) -> PackageURL:
    from packageurl import PackageURL

    return PackageURL("pypi" if name == "platformio" else "generic", None, name, version)


def _licences(text: str) -> list[License]:
    """Return a licence as its text says it: an SPDX name or expression, else a name; none where it is unknown."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(text)] if text else []


def _references(source: str) -> list[ExternalReference]:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, XsUri

    if not source:
        return []
    repository = source.endswith(".git") or "//github.com/" in source or "//gitlab.com/" in source
    kind = ExternalReferenceType.VCS if repository else ExternalReferenceType.WEBSITE
    return [ExternalReference(type=kind, url=XsUri(source))]


def _properties(values: Mapping[str, str]) -> list[Property]:
    from cyclonedx.model import Property

    return [Property(name=PREFIX + name, value=value) for name, value in values.items()]
