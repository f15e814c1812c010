"""A release on its way from the operator to the store: admitted once on each side, and no file read twice."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import cli
from otaseal.client.client import Client
from otaseal.image import gzip_payload, manifest
from otaseal.image.signing_header import embedded_key
from otaseal.release import admission
from support import read_counts
from support.by_bytes import sign_firmware
from support.images import Signer, build_image
from support.read_counts import counted, totals, twice
from support.servers import StartServer

FORMS = {"raw": ["raw"], "gzip": ["gzip"], "both": ["raw", "gzip"]}


def write_release(folder: Path, key: rsa.RSAPrivateKey) -> None:
    """Write the raw and the gzip form of one build."""
    raw = build_image(embedded=embedded_key(key.public_key()))
    claim = manifest.Claim("blink", "nodemcuv2", "1.0", 0, 1_700_000_000)
    for name, payload in (("raw", raw), ("gzip", gzip_payload.compress(raw))):
        (folder / name).write_bytes(sign_firmware(payload, Signer(key), embeds_key=False, claim=claim))


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("rehearsed", [True, False])
def test_a_deployment_reads_each_file_once_on_each_side(
    forms: str, rehearsed: bool, start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "counts.json"
    server = start_server(prefix=[sys.executable, read_counts.__file__, str(report)])
    write_release(tmp_path, server.world.key)
    for name, value in (("SERVER", server.url), ("SERVER_CA", str(server.world.ca)), ("TOKEN", server.token)):
        monkeypatch.setenv(f"OTASEAL_{name}", value)
    asked: list[tuple[str, str]] = []
    request = Client._request

    def seen(client: Client, method: str, path: str, *others: object, **more: object) -> object:
        asked.append((method, path))
        return request(client, method, path, *others, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "_request", seen)
    files = [str(tmp_path / form) for form in FORMS[forms]]
    options = ["--product", "blink", "--board", "nodemcuv2", *([] if rehearsed else ["--no-rehearse"])]
    with counted() as counts:
        assert cli.main(["deploy", *files, *options]) == 0
    server.end()
    assert [path for method, path in asked if method == "GET" and path.startswith("/v1/products/blink?")] == [
        "/v1/products/blink?channel=stable"
    ]
    there: read_counts.Counts = Counter({(what, which): count for what, which, count in json.loads(report.read_text())})
    for side in (counts, there):
        assert twice(side) == []
        assert totals(side)["signature"] == totals(side)["manifest"] == len(files)
        twin = side is counts and rehearsed  # an image of its own: what the device runs before
        assert totals(side)["image"] == len(files) + twin
        assert totals(side)["gzip content"] == totals(side)["gzip header"] == FORMS[forms].count("gzip")
        assert totals(side)["trailer"] == 2 * len(files), "its own, and the one of a file that is signed twice"


def test_the_server_admits_by_the_same_code() -> None:
    from otaseal.server.operator_api import publishing

    assert publishing.admit is admission.admit
