"""Debian's nginx, as a server of files over TLS."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support import peers
from support.servers import World

SECONDS = 60
CONFIGURATION = """\
daemon off;
user {user};
worker_processes 1;
pid {folder}/pid;
error_log {folder}/errors;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2;
    root {folder}/files;
  }}
}}
"""


@contextmanager
def serve_static(world: World, folder: Path, files: Mapping[str, bytes]) -> Iterator[int]:
    """Serve these paths, with the world's certificate, and yield the port."""
    program = peers.tool("nginx", "nginx-light")
    folder = folder / "nginx"
    for path, content in files.items():
        target = folder / "files" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    user, key = pwd.getpwuid(os.getuid()).pw_name, world.chain.with_name("key.pem")
    text = CONFIGURATION.format(folder=folder, port=port, user=user, chain=world.chain, key=key)
    (folder / "nginx.conf").write_text(text)
    running = subprocess.Popen([program, "-e", folder / "errors", "-p", folder, "-c", folder / "nginx.conf"])
    try:
        _wait_for(port, running, folder / "errors")
        yield port
    finally:
        running.terminate()
        running.wait(SECONDS)


def _wait_for(port: int, running: subprocess.Popen[bytes], errors: Path) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and running.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), SECONDS).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(errors.read_text() if errors.exists() else "nginx does not start")
