"""Publishing by the form: what the build has signed, with the checks and the audit lines of a deployment."""

from __future__ import annotations

import contextlib
import http.client

import pytest

from otaseal.server.operator_page import visitors
from support.page_client import HOME, audit, visit
from support.servers import Running, StartServer, operator, publish
from support.serving import SECONDS

UPLOAD = f"{HOME}/upload"


@pytest.fixture(scope="module")
def empty(shared_server: StartServer) -> Running:
    return shared_server()


def test_a_release_is_published(empty: Running) -> None:
    client, signed = visit(empty), empty.world.firmware(1).signed
    before = len(audit(empty))
    reply = client.upload(UPLOAD, {"file": signed, "packed": b""}, version="1.0", channel="beta", percent="100")
    assert (reply.status, reply.headers["location"]) == (303, f"{HOME}/releases/1.0"), reply.body.decode()
    by_page = audit(empty)[before:]
    publish(empty, "1.1", empty.world.firmware(2).signed, channel="beta", rehearsal="skipped")
    by_command = audit(empty)[before + len(by_page) :]
    differs = ("version", "record")
    assert [{key: value for key, value in line.items() if key not in differs} for line in by_page] == [
        {key: value for key, value in line.items() if key not in differs} for line in by_command
    ]
    assert "1.0" in client.see(f"{HOME}/releases").text


def test_what_is_no_release_is_refused(empty: Running) -> None:
    client, signed, before = visit(empty), empty.world.firmware(3).signed, audit(empty)
    for files, fields, words in (
        ({"file": signed[:-1] + b"x"}, {"version": "2.0"}, b"signature"),
        ({}, {"version": "2.0"}, b"there is no file"),
        ({"file": signed}, {"version": "../x"}, b"../x"),
        ({"file": signed}, {"version": "2.0", "channel": "Big"}, b"is not a valid name"),
        ({"file": signed}, {"version": "2.0", "percent": "101"}, b"is not a percentage"),
    ):
        reply = client.upload(UPLOAD, files, **fields)
        assert 400 <= reply.status < 500, fields
        assert words in reply.body, reply.body.decode()
        assert b"Publish a release?" in reply.body, "the form is there again"
    assert audit(empty) == before
    assert "2.0" not in str(operator(empty).get("/v1/products/blink/releases"))


def test_who_signs_out_while_the_file_comes_publishes_nothing(empty: Running) -> None:
    client, before = visit(empty), audit(empty)
    fields = {**client.see(UPLOAD).fields, "version": "2.0", "channel": "beta", "percent": "100"}
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts.append(('name="file"; filename="a.bin"', empty.world.firmware(3).signed))
    text = [b"--xyzzy\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (a.encode(), b) for a, b in parts]
    body = b"".join(text) + b"--xyzzy--\r\n"
    connection = http.client.HTTPSConnection("localhost", empty.operators, context=client.context, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.putrequest("POST", UPLOAD)
        for name, value in {
            "Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items()),
            "Origin": empty.url,
            "Content-Type": "multipart/form-data; boundary=xyzzy",
            "Content-Length": str(len(body)),
        }.items():
            connection.putheader(name, value)
        connection.endheaders(body[:-1])
        assert client.ask("POST", "/page/sign-out", {"proof": fields["proof"]}).status == 303
        connection.send(body[-1:])
        answer = connection.getresponse()
        assert (answer.status, answer.headers["location"]) == (303, "/page/sign-in")
    assert audit(empty) == before


def test_only_our_own_form_publishes(empty: Running) -> None:
    client, signed, before = visit(empty), empty.world.firmware(3).signed, audit(empty)
    assert client.upload(UPLOAD, {"file": signed}, version="2.0", proof="0" * 64).status == 403
    assert client.ask("POST", UPLOAD, {"version": "2.0"}).status == 415
    for kind, body in (("multipart/form-data", b"x"), ("multipart/form-data; boundary=x", b"--x\r\nbad")):
        assert client.ask("POST", UPLOAD, body, {"Content-Type": kind}).status in (400, 403)
    assert client.ask("POST", UPLOAD, b"", {"Origin": "https://evil.example"}).status == 403
    many = {f"file{number}": b"x" for number in range(visitors.MAX_FILES + 1)}
    assert client.upload(UPLOAD, many, version="2.0").status == 400
    assert audit(empty) == before
