"""What a build is made of: parts with versions, sources and hashes, as an SBOM (CycloneDX) and as a lock.

`parts` and `trees` look at folders, `cyclonedx` writes a document and `document` reads one, `lock` compares.
"""
