#!/usr/bin/env bash
# HAProxy 2.6.12 (Debian 12), mode tcp, sticky by TLS session id: `stick store-response` with a condition on the server's
# hello learns nothing, although `tcp-response content accept` waits for that hello, and the manual's example has no more.
# It says that a response is inspected without a limit by default. With `tcp-response inspect-delay` it learns every one.
# Seen: 0 of 8 sessions learnt without the delay, and 4 of 8 resumed when they come in another order than they were made;
# 8 learnt and 8 resumed with it. `haproxy -c` warns neither way.
# Matters to: two update servers behind HAProxy, whose devices resume sessions by id (BearSSL has no tickets).
# Needs: openssl, apt-get, dpkg, python3.
set -euo pipefail
folder="$(mktemp -d)"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
for package in haproxy=2.6.12-1+deb12u4 liblua5.3-0 libopentracing-c-wrapper0 libopentracing1; do
  apt-get download -qq "$package" 2>/dev/null || [ "${package%%=*}" != haproxy ]
done
for package in *.deb; do dpkg -x "$package" root; done
export LD_LIBRARY_PATH="$PWD/root/usr/lib/$(uname -m)-linux-gnu"
root/usr/sbin/haproxy -v | head -n 1

openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out chain.pem -subj /CN=localhost -days 2 2>/dev/null
read -r one two front < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in held))')
for port in "$one" "$two"; do
  openssl s_server -accept "127.0.0.1:$port" -cert chain.pem -key key.pem -tls1_2 -no_ticket -www -quiet >/dev/null 2>&1 &
done

resumed() { # with this line in the configuration: how many of 8 sessions are resumed, and how many the table knows
  cat >sticky.cfg <<CFG
global
    stats socket $folder/control level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen updates
    bind 127.0.0.1:$front
    balance roundrobin
    stick-table type binary len 32 size 1k expire 1h
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 }
    tcp-response content accept if { res.ssl_hello_type 2 }
    $1
    stick on payload_lv(43,1) if { req.ssl_hello_type 1 }
    stick store-response payload_lv(43,1) if { res.ssl_hello_type 2 }
    server one 127.0.0.1:$one
    server two 127.0.0.1:$two
CFG
  rm -f control
  root/usr/sbin/haproxy -c -q -f sticky.cfg
  root/usr/sbin/haproxy -db -q -f sticky.cfg &
  local proxy=$! number count=0
  until [ -S control ] && : 2>/dev/null </dev/tcp/127.0.0.1/"$front"; do sleep 0.1; done
  for number in 0 1 2 3 4 5 6 7; do
    printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:$front" -tls1_2 -ign_eof -sess_out "s$number" >/dev/null 2>&1
  done
  local known
  known="$(python3 - <<'PY'
import re, socket
asking = socket.socket(socket.AF_UNIX)
asking.connect("control")
asking.sendall(b"show table updates\n")
print(re.search(rb"used:(\d+)", b"".join(iter(lambda: asking.recv(4096), b"")))[1].decode())
PY
)"
  for number in 0 2 4 6 1 3 5 7; do # not as they were made: servers that take turns would have each again
    printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:$front" -tls1_2 -ign_eof -sess_in "s$number" 2>/dev/null |
      grep -q '^Reused' && count=$((count + 1))
  done
  echo "$known learnt, $count of 8 resumed"
  kill "$proxy"
  wait "$proxy" 2>/dev/null || true
}

without="$(resumed '')"
with="$(resumed 'tcp-response inspect-delay 5s')"
echo "without a delay: $without; with one: $with"
[ "$without" = "0 learnt, 4 of 8 resumed" ] && [ "$with" = "8 learnt, 8 of 8 resumed" ]
