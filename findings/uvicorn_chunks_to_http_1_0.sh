#!/usr/bin/env bash
# uvicorn 0.54.0 with httptools 0.9.0 (its choice where httptools is installed): an HTTP/1.0 client that gets a response
# without Content-Length gets it chunked, which HTTP/1.0 does not have; with h11 0.16.0 the same application is right.
# Seen: httptools "HTTP/1.1 200 OK ... transfer-encoding: chunked ... 4\r\nfirm\r\n4\r\nware"; h11 "... firmware".
# Matters to: devices that ask by HTTP/1.0 because they cannot read chunks (the ESP8266's and ESP32's update clients).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0
cat >app.py <<'PYTHON'
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"firm", "more_body": True})
    await send({"type": "http.response.body", "body": b"ware"})
PYTHON
cat >ask.py <<'PYTHON'
import asyncio, sys, uvicorn

async def ask(implementation):
    server = uvicorn.Server(uvicorn.Config("app:app", http=implementation, port=0, lifespan="off", log_level="error"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    server.should_exit = True
    await task
    return answer

chunked, plain = asyncio.run(ask("httptools")), asyncio.run(ask("h11"))
print("httptools:", chunked)
print("h11:      ", plain)
assert b"transfer-encoding: chunked\r\n" in chunked.lower() and chunked.endswith(b"\r\n\r\n4\r\nfirm\r\n4\r\nware\r\n0\r\n\r\n")
assert b"chunked" not in plain.lower() and plain.endswith(b"\r\n\r\nfirmware")
PYTHON
venv/bin/python ask.py
