#!/usr/bin/env bash
# pyserial 3.5: on a socket:// port a read(n) that meets the end of the connection raises, and the bytes it had read are dropped:
# the next read raises, too. in_waiting is 1 there however many bytes are waiting.
# Seen: 100 bytes and the end waiting: in_waiting is 1, read(200) raises SerialException twice; read(100) returns all of them.
# Matters to: logs read over ser2net, or from an emulator that exits (its last lines are lost), and read(port.in_waiting).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pyserial==3.5
venv/bin/python - <<'PYTHON'
import socket
import serial

def connect():
    """Return a port with 100 bytes waiting on it, and the end of the connection behind them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = serial.serial_for_url(f"socket://127.0.0.1:{server.getsockname()[1]}", timeout=5)
        peer, _ = server.accept()
    with peer:
        peer.sendall(b"x" * 100)
    port._socket.settimeout(20)
    assert port._socket.recv(100, socket.MSG_PEEK | socket.MSG_WAITALL) == b"x" * 100
    return port

def read(port, size):
    try:
        return len(port.read(size))
    except serial.SerialException as error:
        return str(error)

port = connect()
waiting, first, second = port.in_waiting, read(port, 200), read(port, 200)
exact = read(connect(), 100)
print(f"in_waiting: {waiting}; read(200): {first}; again: {second}; read(100) on another: {exact}")
assert waiting == 1 and exact == 100
assert first == second == "read failed: socket disconnected"
PYTHON
