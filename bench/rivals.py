"""Servers to measure beside each other: ours, and others with static files; each a process tree.

All get the same certificate, key and files, and log each request. nginx runs one worker with what helps it: a cache of
sessions for a day, open files kept, an access log that is written in pieces, connections kept as long as the client
likes. HAProxy runs one thread, with such a cache, and answers from memory. uvicorn (on uvloop and httptools) and
granian run an application of a few lines with the files in memory, one worker each. Express sends files as a tutorial
would have it. It is installed by npm into a folder of its own when it is needed; granian is on PyPI.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log {folder}/access.log combined buffer=64k flush=1s;
    open_file_cache max=100;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl backlog=2048;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_session_cache shared:devices:{cache}m;
        ssl_session_timeout 24h;
        ssl_session_tickets off;
        root {files};
    }}
}}
"""
EXPRESS = """
import express from 'express'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
const [port, cert, key, root] = process.argv.slice(2)
const app = express()
for (const name of ['firmware.bin.signed', 'poll']) {
  app.get('/' + name, (request, response, next) => {
    response.sendFile(name, { root }, (failure) => { if (failure) next(failure); else console.log('sent', name) })
  })
}
createServer({ cert: readFileSync(cert), key: readFileSync(key) }, app).listen(Number(port), '127.0.0.1')
"""
HAPROXY = """
global
    nbthread 1
    maxconn 4096
    tune.bufsize 524288
    tune.ssl.cachesize 250000
    tune.ssl.lifetime 86400
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout client 60s
frontend devices
    bind 127.0.0.1:{port} ssl crt {pem} no-tls-tickets
    http-request return status 200 content-type application/octet-stream file {files}/poll if {{ path /poll }}
    http-request return status 200 content-type application/octet-stream file {files}/firmware.bin.signed
"""
APPLICATION = """
import os, pathlib
BODIES = {f"/{file.name}": file.read_bytes() for file in pathlib.Path(os.environ["FILES"]).iterdir()}
async def application(scope, receive, send):
    if scope["type"] == "http":
        body = BODIES[scope["path"]]
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
"""
SECONDS = 20
CACHE_MEGABYTES = 64
"""For nginx's sessions: some 4,000 a megabyte."""


@dataclass(frozen=True)
class Server:
    """A server that answers; `pid` is the first process of its tree."""

    name: str
    port: int
    pid: int

    def cpu(self) -> float:
        """Return the processor time that the tree has used so far, in seconds."""
        return sum(_cpu(pid) for pid in process_tree(self.pid))

    def memory(self) -> int:
        """Return the memory of the tree, in bytes, what processes share counted once."""
        rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in process_tree(self.pid))
        return 1024 * sum(int(rollup.partition("\nPss:")[2].split()[0]) for rollup in rollups)


def process_tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found, position = [pid], 0
    while position < len(found):
        for children in Path(f"/proc/{found[position]}/task").glob("*/children"):
            found += map(int, children.read_text().split())
        position += 1
    return found


def _cpu(pid: int) -> float:
    """Return what the threads of a process have run; the scheduler counts it in nanoseconds."""
    spent = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            spent += int(path.read_text().split()[0])
    return spent / 1e9


@contextlib.contextmanager
def nginx(
    folder: Path, files: Path, chain: Path, key: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run nginx over the files of a folder."""
    port = _free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        NGINX.format(folder=folder, files=files, chain=chain, key=key, port=port, cache=CACHE_MEGABYTES)
    )
    # Started by root, the worker becomes somebody else, who must be able to read.
    for one in (folder, files, *files.iterdir()):
        one.chmod(0o755 if one.is_dir() else 0o644)
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or "nginx"
    command = [program, "-c", str(configuration), "-g", "daemon off;"]
    with _running("nginx", command, port, folder, environment) as server:
        yield server


@contextlib.contextmanager
def express(folder: Path, files: Path, chain: Path, key: Path) -> Iterator[Server]:
    """Run Express over the files of a folder; raises CalledProcessError when npm cannot install it."""
    port = _free_port()
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "express@4"]
    subprocess.run(install, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    script = folder / "server.mjs"
    script.write_text(EXPRESS)
    command = ["node", str(script), str(port), str(chain), str(key), str(files)]
    with _running("express", command, port, folder) as server:
        yield server


@contextlib.contextmanager
def haproxy(folder: Path, files: Path, chain: Path, key: Path) -> Iterator[Server]:
    """Run HAProxy with the files of a folder in its memory."""
    port, pem, configuration = _free_port(), folder / "server.pem", folder / "haproxy.cfg"
    pem.write_bytes(chain.read_bytes() + key.read_bytes())
    configuration.write_text(HAPROXY.format(port=port, pem=pem, files=files))
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "haproxy"
    with _running("haproxy", [program, "-db", "-f", str(configuration)], port, folder) as server:
        yield server


@contextlib.contextmanager
def uvicorn(folder: Path, files: Path, chain: Path, key: Path) -> Iterator[Server]:
    """Run uvicorn with the files of a folder in its memory."""
    options = ["--loop", "uvloop", "--http", "httptools", "--ssl-certfile", str(chain), "--ssl-keyfile", str(key)]
    with _asgi("uvicorn", options, folder, files) as server:
        yield server


@contextlib.contextmanager
def granian(folder: Path, files: Path, chain: Path, key: Path) -> Iterator[Server]:
    """Run granian with the files of a folder in its memory."""
    options = ["--interface", "asgi", "--access-log", "--ssl-protocol-min", "tls1.2"]
    options += ["--ssl-certificate", str(chain), "--ssl-keyfile", str(key)]
    with _asgi("granian", options, folder, files) as server:
        yield server


RIVALS = {"nginx": nginx, "haproxy": haproxy, "granian": granian, "uvicorn": uvicorn, "express": express}
RESUMING = "nginx", "haproxy", "granian", "uvicorn"
"""Those that resume sessions by id, as devices do."""


@contextlib.contextmanager
def _asgi(name: str, options: list[str], folder: Path, files: Path) -> Iterator[Server]:
    port = _free_port()
    (folder / "rival.py").write_text(APPLICATION)
    command = [sys.executable, "-m", name, *options, "--host", "127.0.0.1", "--port", str(port), "rival:application"]
    with _running(name, command, port, folder, {"FILES": str(files), "PYTHONPATH": str(folder)}) as server:
        yield server


@contextlib.contextmanager
def _running(
    name: str, command: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    with (folder / f"{name}.log").open("w") as log:
        everything = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=everything)
    try:
        end = time.monotonic() + SECONDS
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} does not start: {(folder / f'{name}.log').read_text()}")
            time.sleep(0.05)
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        process.wait(SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
