"""A release's notes, its end, and who did that: by the commands, against a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import InputError
from otaseal.store.backend import open_backend
from otaseal.store.check import check
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from support.command import Result, process
from support.operator_requests import NOW, raw, refusal
from support.servers import Running, as_device, get, metrics, operator, publish, talk


def run(server: Running, folder: Path, *arguments: str) -> Result:
    said = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_SERVER_CA": str(server.world.ca)}
    return process(*arguments, cwd=folder, OTASEAL_TOKEN=server.token, **said)


def test_notes_come_with_a_deployment_or_later(server: Running, tmp_path: Path) -> None:
    (tmp_path / "firmware.bin.signed").write_bytes(server.world.firmware(1).signed)
    (tmp_path / "NOTES.txt").write_text("Closes a hole.\nThe lamp is brighter.\n")
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    deploy = ("deploy", "firmware.bin.signed", "--version", "1.0", "--no-rehearse")
    run(server, tmp_path, *deploy, "--notes", "latin.txt").failed(1, "'latin.txt' is not text in UTF-8")
    assert operator(server).get("/v1/products/blink/releases")["releases"] == [], "it is refused before it is published"
    run(server, tmp_path, *deploy, "--notes", "NOTES.txt", "--severity", "security").succeeded()
    listed = run(server, tmp_path, "releases").succeeded().out
    assert "release  1.0  [security]" in listed
    assert "  | Closes a hole.\n  | The lamp is brighter.\n" in listed
    run(server, tmp_path, "notes", "1.0", "--severity", "fix").succeeded()
    said = operator(server).get("/v1/products/blink/releases")["notes"]
    kept = {"severity": "fix", "notes": "Closes a hole.\nThe lamp is brighter.", "cves": "", "advisory": ""}
    assert said == {"1.0": kept}
    run(server, tmp_path, "notes", "1.0", "--cve", "cve-2026-12345", "--cve", "CVE-2025-1").failed(1, "'CVE-2025-1' is")
    run(server, tmp_path, "notes", "1.0", "--cve", "cve-2026-12345", "--advisory", "NOTES.txt").succeeded()
    said = operator(server).get("/v1/products/blink/releases")["notes"]["1.0"]
    assert (said["cves"], said["advisory"]) == ("CVE-2026-12345", kept["notes"])
    run(server, tmp_path, "notes", "1.0").failed(2, "nothing is said of the release")
    run(server, tmp_path, "notes", "9.9", "--severity", "fix").failed(1, "there is no release '9.9'")
    with open_backend(str(server.store)) as backend:
        _, beta = TokenFile(backend.store.documents).issue("beta", "blink", "beta", 1, NOW)
    with pytest.raises(InputError, match="token 'beta' is not for product 'blink', channel 'stable'"):
        operator(server, beta).set_notes("blink", "1.0", {"notes": "mine"})


def test_devices_that_have_the_library_are_told(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    publish(server, "1.1", new.signed)
    said = {"severity": "security", "notes": "Closes a hole.\nGrößer."}
    operator(server).set_notes("blink", "1.1", said)
    stock = as_device("/firmware.bin.signed", old)
    library = stock.replace(b"\r\n\r\n", b"\r\nX-Otaseal-Capabilities: 1 proof\r\n\r\n")
    names = ("x-otaseal-severity", "x-otaseal-notes")
    for request in (library, library.replace(b"GET ", b"HEAD ", 1)):
        reply = talk(server.world.context(), server.port, request)
        assert reply.status == 200
        severity, notes = (reply.headers[name] for name in names)
        assert (severity, notes.encode("latin-1").decode()) == ("security", "Closes a hole. Größer.")
    assert not set(names) & set(talk(server.world.context(), server.port, stock).headers)
    current = library.replace(old.md5.encode(), new.md5.encode())
    assert not set(names) & set(talk(server.world.context(), server.port, current).headers), "there is nothing new"


def test_a_release_that_nobody_needs_can_be_deleted(server: Running, tmp_path: Path) -> None:
    firmware = [server.world.firmware(seed) for seed in range(4)]
    for number in range(4):
        publish(server, f"{number}.0", firmware[number].signed, channel="beta" if number == 2 else "stable")
    delete = lambda *arguments: run(server, tmp_path, "delete", *arguments)  # noqa: E731
    delete("3.0").failed(1, "channel 'stable' of 'blink' gives out release '3.0'")
    delete("0.0").failed(1, "channel 'stable' of 'blink' can go back to release '0.0'")
    delete("9.0").failed(1, "there is no release '9.0'")
    publish(server, "4.0", server.world.firmware(4).signed, channel="beta", percent=50)
    publish(server, "5.0", server.world.firmware(5).signed, channel="beta")  # 4.0 never was whole there
    talk(server.world.context(), server.port, as_device("/blink/beta/firmware.bin.signed", server.world.firmware(4)))
    delete("4.0").failed(1, "1 device run or were offered release '4.0'")
    before = Store.open(server.store).release("blink", "4.0")
    assert "which 1 device run" in delete("4.0", "--even-if-run").succeeded().out
    store = Store.open(server.store)
    assert "4.0" not in store.releases("blink")
    assert set(store.documents.blobs()).isdisjoint(form.blob for form in before.files)
    assert check(store).whole
    assert "4.0" not in [one["version"] for one in operator(server).get("/v1/products/blink/releases")["releases"]]
    publish(server, "4.0", server.world.firmware(6).signed, channel="gamma")
    with open_backend(str(server.store)) as backend:
        _, stable = TokenFile(backend.store.documents).issue("stable", "blink", "stable", 1, NOW)
    with pytest.raises(InputError, match="token 'stable' is not for product 'blink'"):
        operator(server, stable).delete("/v1/products/blink/releases/4.0")

    # and all of that is in the audit log
    rows = run(server, tmp_path, "audit", "--version", "4.0", "--json").succeeded().json
    assert [(row["event"], row["channel"], row["by"]) for row in rows] == [
        ("point", "gamma", "token:tests"),
        ("publish", "", "token:tests"),
        ("prune", "", "token:tests"),
        ("point", "beta", "token:tests"),
        ("publish", "", "token:tests"),
    ]
    assert rows[2]["details"] == {"asked": True}


def test_what_was_done_to_many_devices_is_one_row_and_pages_go_on(server: Running, tmp_path: Path) -> None:
    store = Store.open(server.store)
    line: dict[str, object] = {"event": "forget", "product": "blink", "channel": "stable", "by": "token:ci"}
    for number in range(30):
        store.record_event({**line, "device": f"mac:{number:02}"})
    store.record_event({**line, "event": "retry", "device": "mac:1", "by": "certificate:anna"})
    store.record_event({"event": "proof", "required": True, "by": "server"})
    client = operator(server)

    def rows(query: str) -> list[Any]:
        found, after = [], ""
        while True:
            page = client.get(f"/v1/audit?{query}{after}")
            found += page["rows"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    everything = rows("limit=500")
    assert [row["event"] for row in everything][:3] == ["proof", "retry", "forget"]
    assert rows("limit=1") == everything, "page after page"
    many = everything[2]
    assert (many["count"], len(many["devices"]), many["devices"][0]) == (30, 10, "mac:29")
    assert many["first"] <= many["at"]
    assert [row["event"] for row in rows("product=blink&by=certificate:anna")] == ["retry"]
    assert rows("since=2999-01-01") == []
    assert len(rows("event=forget&since=2020-01-01T00:00")) == 1
    out = run(server, tmp_path, "audit", "--limit", "2").succeeded().out.splitlines()
    assert len(out) == 2
    assert "forget  token:ci  stable  30 devices since " in out[1]
    store.record_event({**line, "by": "oidc:eve  prune\n2030-01-01T00:00:00Z\u202e", "device": "mac:9\x1b[2J"})
    out = run(server, tmp_path, "audit", "--limit", "1").succeeded().out.splitlines()
    assert len(out) == 1, "what somebody is called is no line of its own"
    assert r'  forget  "oidc:eve  prune\n2030-01-01T00:00:00Z\u202e"  stable  mac:9\x1b[2J' in out[0]
    for query in ("after=-1", "since=yesterday", "by=" + "x" * 1025):
        assert refusal(raw(server, get(f"/v1/audit?{query}", f"Authorization: Bearer {server.token}")), 400)


def test_the_last_use_of_a_token_is_listed_once_it_is_written(server: Running, tmp_path: Path) -> None:
    metrics(server)
    listed = ("token", "list", "--store", server.store)
    assert "not used yet" in process(*listed, cwd=tmp_path).succeeded().out, "nobody has waited for a disk"
    assert server.stop() == 0
    (row,) = json.loads(process(*listed, "--json", cwd=tmp_path).succeeded().out)
    assert row["used"] >= NOW.timestamp(), "it is when it was used"
    assert " used 2" in process(*listed, cwd=tmp_path).succeeded().out
