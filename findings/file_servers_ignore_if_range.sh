#!/usr/bin/env bash
# aiohttp 3.14.5, Tornado 6.6.1 and Twisted 26.10.0 serve ranges of static files, but ignore an ETag in If-Range: for
# a file that has changed they send 206 and the rest of the new one, where RFC 9110 (13.1.5) has 200 and the whole file. A date in
# If-Range is heeded by aiohttp only.
# Seen: half of the old file, then 206 for If-Range with its ETag: the file put together is half old, half new.
# Matters to: firmware downloads that are resumed: If-Range does not keep two releases apart, compare the ETag of the 206.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q aiohttp==3.14.5 tornado==6.6.1 twisted==26.10.0
mkdir files
cat >client.py <<'PYTHON'
import http.client, os
from pathlib import Path

FILE = Path("files/firmware.bin")

def ask(port, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/firmware.bin", headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response, response.read()

def resume(port, replaced=lambda: None):
    """Status of a resumption with the ETag and with the date of a file that has been replaced; what the first one yields."""
    FILE.write_bytes(b"old" * 1000)
    os.utime(FILE, (1_700_000_000, 1_700_000_000))
    first, whole = ask(port)
    assert first.status == 200 and whole == b"old" * 1000
    FILE.write_bytes(b"new" * 1000)
    replaced()
    # A file that is served without an ETag (Twisted) is asked for with one that cannot be its own.
    tagged, rest = ask(port, Range="bytes=1500-", If_Range=first.getheader("ETag") or '"another"')
    dated, _ = ask(port, Range="bytes=1500-", If_Range=first.getheader("Last-Modified"))
    assert tagged.getheader("ETag") is None or tagged.getheader("ETag") != first.getheader("ETag")
    return tagged.status, dated.status, whole[:1500] + rest == b"old" * 500 + b"new" * 500
PYTHON
cat >with_aiohttp.py <<'PYTHON'
import asyncio
from aiohttp import web
from client import resume

async def main():
    application = web.Application()
    application.router.add_static("/", "files")
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(*await asyncio.to_thread(resume, runner.addresses[0][1]))
    await runner.cleanup()

asyncio.run(main())
PYTHON
cat >with_tornado.py <<'PYTHON'
import asyncio
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler
from client import resume

async def main():
    server = HTTPServer(Application([("/(.*)", StaticFileHandler, {"path": "files"})]))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    # Tornado keeps the hash of a file until it is told to look again.
    print(*await asyncio.to_thread(resume, sockets[0].getsockname()[1], StaticFileHandler.reset))
    server.stop()

asyncio.run(main())
PYTHON
cat >with_twisted.py <<'PYTHON'
from twisted.internet import reactor, threads
from twisted.web.server import Site
from twisted.web.static import File
from client import resume

port = reactor.listenTCP(0, Site(File("files")), interface="127.0.0.1").getHost().port
answer = threads.deferToThread(resume, port)
answer.addCallback(lambda values: print(*values)).addErrback(lambda failure: failure.printTraceback())
answer.addBoth(lambda _: reactor.stop())
reactor.run()
PYTHON
check() { timeout 120 venv/bin/python "with_$1.py" | tee output && grep -qx "$2" output; }
check aiohttp "206 200 True"
check tornado "206 206 True"
check twisted "206 206 True"
