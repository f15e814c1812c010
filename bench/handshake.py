"""What a TLS 1.2 handshake costs the server, by the kind of its key: RSA-2048 against P-256, in pairs.

    python bench/handshake.py [--pairs 40] [--batch 25]

Two servers' contexts differ in nothing but key and certificate; each pair runs a batch of whole handshakes with the one
and with the other, in alternating order, so that what else the machine does hits both. In memory, without sockets. The
client's part (verification, key exchange) is measured apart and left out. Prints medians in microseconds of processor
time, and the median of the ratios with its quartiles. TLS 1.2, ECDHE with X25519, ChaCha20: what the device negotiates.
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from otaseal.pki import Authority, KeyType, Role

NAME = "update.local"
MAX_TURNS = 10


def contexts(root_key: KeyType, server_key: KeyType, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a server's and a client's context for that kind of authority and server."""
    now = datetime.now(timezone.utc)
    by = Authority.create(role=Role.SERVER, product="bench", now=now, key=root_key)
    issued = by.issue_server([NAME], now=now, key=server_key)
    path = folder / f"{root_key.value}-{server_key.value}.pem"
    path.write_bytes(issued.private_key_pem + issued.chain_pem)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(path)
    server.set_ecdh_curve("X25519")
    client.load_verify_locations(cadata=by.certificate_pem.decode())
    for one in (server, client):
        one.maximum_version = ssl.TLSVersion.TLSv1_2
        one.set_ciphers("ECDHE+CHACHA20")
        one.options |= ssl.OP_NO_TICKET
    return server, client


def handshake(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> float:
    """Run one handshake and return the processor time of the server's turns, in seconds."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(up, down, server_side=True)
    client = client_context.wrap_bio(down, up, server_hostname=NAME)
    spent, done = 0.0, set()
    for _ in range(MAX_TURNS):
        for side in (client, server):
            if side in done:
                continue
            start = time.thread_time()
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            if side is server:
                spent += time.thread_time() - start
        if len(done) == 2:
            return spent
    raise RuntimeError("the handshake does not end")


def batch(pair: tuple[ssl.SSLContext, ssl.SSLContext], size: int) -> float:
    return sum(handshake(*pair) for _ in range(size)) / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--batch", type=int, default=25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rsa = contexts(KeyType.RSA_2048, KeyType.RSA_2048, Path(name))
        ec = contexts(KeyType.P_256, KeyType.P_256, Path(name))
    for one in (rsa, ec):
        batch(one, options.batch)
    spent: list[tuple[float, float]] = []
    for index in range(options.pairs):
        first, second = (rsa, ec) if index % 2 == 0 else (ec, rsa)
        times = (batch(first, options.batch), batch(second, options.batch))
        spent.append(times if index % 2 == 0 else (times[1], times[0]))
    low, middle, high = statistics.quantiles([a / b for a, b in spent], n=4)
    print(f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, {options.pairs} pairs of {options.batch}")
    print(f"RSA-2048: {statistics.median(a for a, _ in spent) * 1e6:.0f} us of server time a handshake")
    print(f"P-256:    {statistics.median(b for _, b in spent) * 1e6:.0f} us of server time a handshake")
    print(f"RSA-2048 / P-256: {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
