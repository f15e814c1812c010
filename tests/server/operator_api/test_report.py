"""The report of a product, from a server that devices asked."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from support.command import Result, process
from support.servers import Running, as_device, operator, publish, talk


def test_what_runs_and_how_fast_a_security_release_came(server: Running, tmp_path: Path) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    said = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_SERVER_CA": str(server.world.ca)}

    def run(*arguments: str) -> Result:
        return process(*arguments, cwd=tmp_path, OTASEAL_TOKEN=server.token, **said)

    publish(server, "1.0", old.signed)
    empty = run("report").succeeded().out
    assert "blink: 0 devices seen; until when it is supported is not said" in empty
    assert "no release is marked as one for security" in empty
    for number in range(4):
        talk(server.world.context(), server.port, as_device("/firmware.bin.signed", old, f"5C:CF:7F:00:00:0{number}"))
    publish(server, "1.1", new.signed)
    run("notes", "1.1", "--severity", "security", "--cve", "CVE-2026-12345").succeeded()
    for number in range(2):
        mac = f"5C:CF:7F:00:00:0{number}"
        talk(server.world.context(), server.port, as_device("/firmware.bin.signed", old, mac))
        talk(server.world.context(), server.port, as_device("/firmware.bin.signed", new, mac))
    run("support", "2031-02-30").failed(1, "'2031-02-30' is no day")
    run("support", "2031-12-31").succeeded()
    report = operator(server).get("/v1/products/blink/report")
    assert report["devices"] == {"seen": 4, "active": 4}
    assert {row["version"]: row["devices"] for row in report["versions"]} == {"1.0": 2, "1.1": 2}
    security = report["security"]
    assert (security["version"], security["devices"], security["reached"]) == ("1.1", 4, 2)
    assert security["seconds"]["50"] is not None
    assert security["seconds"]["90"] is None
    text = run("report", "--html", "report.html").succeeded().out
    assert "supported until 2031-12-31" in text
    assert "last security release 1.1 (CVE-2026-12345), of" in text
    assert "2 of 4 devices have it; 50 % after" in text
    page = (tmp_path / "report.html").read_text()
    assert "CVE-2026-12345" in page
    assert "src=" not in page
    assert "href=" not in page
    run("support", "2025-12-31").succeeded()
    assert "the support ended on 2025-12-31" in run("report").succeeded().out


def test_what_people_wrote_is_text_in_the_page(server: Running, tmp_path: Path) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    (tmp_path / "notes.txt").write_text("<script>alert(1)</script> & more")
    said = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_SERVER_CA": str(server.world.ca)}
    environment = {**said, "OTASEAL_TOKEN": server.token}
    process("notes", "1.0", "--notes", "notes.txt", cwd=tmp_path, **environment).succeeded()
    process("report", "--html", "report.html", cwd=tmp_path, **environment).succeeded()
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)

    Tags().feed((tmp_path / "report.html").read_text())
    assert "table" in tags
    assert "script" not in tags
