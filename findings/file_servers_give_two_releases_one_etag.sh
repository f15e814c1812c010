#!/usr/bin/env bash
# nginx 1.22.1 (Debian 12) and Starlette 1.3.1 make a file's ETag of its size and of the second in which it was modified.
# Two firmware files of one size with one modification time have the same strong ETag: images are padded to whole
# sectors, and reproducible builds, `rsync -t`, `cp -p` and container layers set or keep the time (SOURCE_DATE_EPOCH).
# Seen: after the file was replaced by another one, If-None-Match gets 304, and Range with If-Range gets 206 and the rest
# of the new file: the file put together is half old, half new. lighttpd 1.4.69, which adds the inode, answers 200.
# Matters to: devices that poll by ETag, which never hear of such a release, and downloads that are resumed: only a hash
# over the whole file tells.
# Needs: apt-get, dpkg, python3.
set -euo pipefail
folder="$(mktemp -d)"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
chmod 755 .
for package in nginx=1.22.1-9+deb12u11 lighttpd=1.4.69-1; do
  apt-get download -qq "$package" 2>/dev/null
done
for package in *.deb; do dpkg -x "$package" root; done
python3 -m venv venv
venv/bin/pip install -q starlette==1.3.1 uvicorn==0.54.0
mkdir -m 755 files
read -r one two three < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in held))')

cat >nginx.conf <<CONF
daemon off;
pid $folder/nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server { listen 127.0.0.1:$one; root $folder/files; }
}
CONF
root/usr/sbin/nginx -e stderr -c "$folder/nginx.conf" 2>/dev/null &
cat >application.py <<'PYTHON'
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

app = Starlette(routes=[Mount("/", StaticFiles(directory="files"))])
PYTHON
venv/bin/uvicorn --port "$two" --log-level critical application:app &
cat >lighttpd.conf <<CONF
server.document-root = "$folder/files"
server.bind = "127.0.0.1"
server.port = $three
mimetype.assign = ("" => "application/octet-stream")
CONF
root/usr/sbin/lighttpd -D -m root/usr/lib/lighttpd -f lighttpd.conf 2>/dev/null &

cat >replace.py <<'PYTHON'
import http.client, os, socket, sys, time

def put(data):
    with open("files/new", "wb") as file:
        file.write(data)
    os.utime("files/new", (1_700_000_000, 1_700_000_000))
    os.replace("files/new", "files/firmware.bin")

def ask(**headers):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    connection.request("GET", "/firmware.bin", headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.getheader("ETag"), response.read()

for _ in range(100):
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
put(b"old" * 1000)
_, tag, whole = ask()
with open("files/firmware.bin", "rb"):  # its inode is not given to the new one
    put(b"new" * 1000)
    time.sleep(2)  # a server may remember a file for a second
    asked, _, _ = ask(If_None_Match=tag)
    resumed, same, rest = ask(Range="bytes=1500-", If_Range=tag)
print(asked, resumed, tag == same, whole[:1500] + rest == b"old" * 500 + b"new" * 500)
PYTHON
check() { timeout 60 python3 replace.py "$2" | tee output && grep -qx "$3" output && echo "$1"; }
check nginx "$one" "304 206 True True"
check starlette "$two" "304 206 True True"
check lighttpd "$three" "200 200 False False"
