"""CycloneDX's own judge of documents."""

from __future__ import annotations


def find_fault(document: bytes) -> object | None:
    """Return what is wrong with a JSON document by the strict schema of version 1.6, or None."""
    # Imported here, as that takes two seconds, which each process of a run would pay for collecting these tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode())
