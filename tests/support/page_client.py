"""A browser without JavaScript: it keeps cookies, reads forms, and posts them over real TLS, as people's do."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

from support.servers import PRODUCT, Reply, Running
from support.serving import SECONDS

HOME = f"/page/products/{PRODUCT}"
CHANNEL = HOME + "/channels/stable"


def device_page(name: str, change: str = "") -> str:
    """Return the path of a device's screen, or of what `change` does to it."""
    return f"{HOME}/device{'/' if change else ''}{change}?name={quote(name, safe='')}"


class FormReader(HTMLParser):
    """Finds the fields of the forms in a page, those of the sign-out left out, and the text and links in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.checks: set[str] = set()
        self.links: list[str] = []
        self.words: list[str] = []
        self._ours = False
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._ours = not found.get("action", "").endswith("/sign-out")
        elif tag == "a":
            self.links.append(found.get("href", ""))
        elif tag == "select":
            self._select = found["name"]
        elif tag == "textarea":
            self.fields[found["name"]] = ""  # what is in it is left alone
        elif tag == "option" and self._select:
            self.fields.setdefault(self._select, found.get("value", ""))
        elif tag == "input" and self._ours and found.get("type") != "file":
            if found.get("type") == "checkbox":
                self.checks.add(found["name"])
            else:
                self.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._ours = False

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


@dataclass
class PageClient:
    """Somebody at the page of a server."""

    server: Running
    context: ssl.SSLContext
    cookies: dict[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of every request, in place of what a browser would send."""

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer to one request, on a connection of its own; redirects are not followed."""
        sent = {"Host": f"localhost:{self.server.operators}"}
        body: bytes | str | None = None
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method == "POST":
            body = fields if isinstance(fields, bytes) else urlencode(fields or {})
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.server.url}
            sent["Sec-Fetch-Site"] = "same-origin"
        merged = {**sent, **self.headers, **(headers or {})}
        connection = http.client.HTTPSConnection(
            "localhost", self.server.operators, context=self.context, timeout=SECONDS
        )
        try:
            connection.request(method, path, body, {name: value for name, value in merged.items() if value != ""})
            answer = connection.getresponse()
            reply = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
        self._keep(reply.headers.get("set-cookie", ""))
        return reply

    def upload(self, path: str, files: Mapping[str, bytes], **fields: str) -> Reply:
        """Open the form at `path`, fill it in, and send it with files, as a browser does."""
        parts = [(f'name="{name}"', value.encode()) for name, value in {**self.see(path).fields, **fields}.items()]
        parts += [(f'name="{name}"; filename="{name}.bin"', data) for name, data in files.items()]
        boundary = b"--xyzzy"
        body = b"".join(
            b"%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary, name.encode(), data)
            for name, data in parts
        )
        return self.ask(
            "POST", path, body + boundary + b"--\r\n", {"Content-Type": "multipart/form-data; boundary=xyzzy"}
        )

    def _keep(self, header: str) -> None:
        name, _, value = header.partition(";")[0].partition("=")
        if "max-age=0" in header.lower():
            self.cookies.pop(name, None)
        elif name:
            self.cookies[name] = value

    def sign_in(self, token: str) -> Reply:
        return self.ask("POST", "/page/sign-in", {"token": token, "next": ""})

    def see(self, path: str, status: int = 200) -> FormReader:
        """Return what a screen says, which has to be there."""
        reply = self.ask("GET", path)
        assert reply.status == status, (path, reply)
        return FormReader(reply.body.decode())

    def submit(self, path: str, *checks: str, **fields: str) -> Reply:
        """Open the form at `path`, fill it in, tick `checks`, and send it."""
        shown = self.see(path)
        assert set(checks) <= shown.checks
        assert set(fields) <= set(shown.fields), (fields, shown.fields)
        filled = {**shown.fields, **fields, **dict.fromkeys(checks, "yes")}
        return self.ask("POST", path.partition("?")[0], filled)


def visit(server: Running, token: str = "") -> PageClient:
    """Return somebody who has signed in with a token, that of the server if none is given."""
    client = PageClient(server, server.world.context())
    assert client.sign_in(token or server.token).status == 303
    return client


def audit(server: Running) -> list[dict[str, Any]]:
    """Return the audit log of a server on files, without what differs from run to run."""
    lines = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("at", "generation")} for line in lines]
