#!/usr/bin/env bash
# uvloop 0.23.0: `transport.pause_reading()` in `connection_made` is undone once that returns.
#
# A protocol that is not ready for bytes pauses in `connection_made`, hands the socket on, or starts TLS on it in a task
# (`loop.start_tls`). On asyncio's own loop nothing is read until it resumes. On uvloop `is_reading()` says False, too, and
# the first bytes arrive at `data_received` all the same: a ClientHello that comes at once is lost to the TLS that was to
# read it, and the handshake waits for ever. Paused one turn of the loop later, both loops keep to it.
#
# Seen here: the line of asyncio ends with [], that of uvloop with [b'hello'], in both cases after is_reading() = False.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q uvloop==0.23.0

cat > "$folder/paused.py" <<'PYTHON'
import asyncio
import sys

seen, reading = [], []


class Paused(asyncio.Protocol):
    def connection_made(self, transport):
        transport.pause_reading()
        reading.append(transport.is_reading())

    def data_received(self, data):
        seen.append(data)


async def main():
    server = await asyncio.get_running_loop().create_server(Paused, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    await writer.drain()
    await asyncio.sleep(1)
    print(sys.argv[1], reading, seen)


if sys.argv[1] == "uvloop":
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
asyncio.run(main())
PYTHON

for loop in asyncio uvloop; do
  "$folder/venv/bin/python" -W ignore "$folder/paused.py" "$loop"
done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
asyncio [False] []
uvloop [False] [b'hello']
SEEN
