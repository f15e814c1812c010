"""What comes with a release is on its screen, and in the report."""

from __future__ import annotations

import json

import pytest

from otaseal.client.deployment import Options
from otaseal.image.firmware import Firmware
from otaseal.release import provenance
from otaseal.release.provenance import Build
from otaseal.release.records import Origin
from otaseal.server.operator_page.screens import attached
from support.images import Signer
from support.page_client import CHANNEL, HOME, visit
from support.servers import Running, StartServer, operator, publish

BUILDER = "https://ci.example.com/blink"
SBOM = {
    "bomFormat": "CycloneDX",
    "components": [
        {"name": "board", "components": [{"name": "Adafruit <GFX>", "version": "1.11.9"}]},
        {"name": "core"},
    ],
}


@pytest.fixture(scope="module")
def server(shared_server: StartServer) -> Running:
    server = shared_server()
    signed = server.world.firmware(1).signed
    build = Build(BUILDER, {}, "1" * 40, "2026-01-01T00:00:00Z")
    envelope = provenance.sign(provenance.statement({"firmware.bin.signed": signed}, build), Signer(server.world.key))
    client = operator(server)
    admitted = client.check([Firmware(signed)], Origin("blink", "1.0", "2026-01-01T00:00:00Z"), Options())
    client.publish(admitted, attachments={"sbom": json.dumps(SBOM).encode(), "provenance": envelope})
    publish(server, "1.1", server.world.firmware(2).signed)
    return server


def test_a_release_says_what_it_is_made_of_and_by_whom(server: Running) -> None:
    client = visit(server)
    shown = client.see(f"{HOME}/releases/1.0").text
    for text in (BUILDER, "Adafruit <GFX>", "1.11.9", "version unknown", "2 parts"):
        assert text in shown
    sent = client.ask("GET", f"{HOME}/releases/1.0/attachments/sbom")
    assert json.loads(sent.body) == SBOM
    assert sent.headers["content-disposition"] == 'attachment; filename="blink-1.0.sbom.json"'
    assert client.ask("GET", f"{HOME}/releases/1.0/attachments/log").status == 404
    assert client.ask("GET", f"{HOME}/releases/1.0/attachments/licence").status == 422
    assert "What it is made of" not in client.see(f"{HOME}/releases/1.1").text


def test_parts_within_parts_without_end_are_not_listed() -> None:
    """JSON may have them, from Python 3.12 on."""
    components: list[dict[str, object]] = []
    for _ in range(2000):
        components = [{"components": components}]
    assert list(attached._parts([{"name": "core", "version": "3.1.2"}, *components])) == [("core", "3.1.2")]


def test_what_a_release_closes_is_said_before_it_is_given_out(server: Running) -> None:
    client = visit(server)
    said = {
        "severity": "security",
        "notes": "Update soon.",
        "cves": "cve-2026-12345",
        "advisory": "Who listens, crashes.",
    }
    assert client.submit(f"{HOME}/releases/1.0/notes", **said).status == 303
    shown = client.see(f"{HOME}/releases/1.0").text
    assert "CVE-2026-12345" in shown
    assert "Who listens, crashes." in shown
    asked = client.see(f"{CHANNEL}/promote?version=1.0").text
    for text in ("It is a release for security.", "It closes CVE-2026-12345.", "Update soon."):
        assert text in asked
    assert client.submit(f"{HOME}/releases/1.0/notes", severity="fix").status == 303
    assert "CVE-2026-12345" in client.see(f"{HOME}/releases/1.0").text, "what is not changed stays"


def test_the_report(server: Running) -> None:
    shown = visit(server).see(f"{HOME}/report").text
    assert "EN 303 645, 5.3-1" in shown
    assert "No device was seen yet." in shown
    assert "Until when the product is supported is not said" in shown
