#!/usr/bin/env bash
# BearSSL 0.6 (Debian 12): in PEM text with CRLF line ends the decoder calls the object "PUBLIC KEY-----". Its bytes are
# right, no error is reported, and who compares the name finds no key. OpenSSL reads the same file.
# Seen: "PUBLIC KEY" with LF, "PUBLIC KEY-----" with CRLF, 294 bytes both times.
# Matters to: keys and certificates that a firmware has as text, saved by an editor on Windows or fetched over HTTP.
# Needs: a C compiler, openssl, apt-get, dpkg.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for package in libbearssl-dev libbearssl0; do
  apt-get download -qq "$package=0.6+dfsg.1-3"
done
for package in *.deb; do dpkg -x "$package" root; done
cat >names.c <<'C'
#include <bearssl.h>
#include <stdio.h>

static void count(void *total, const void *data, size_t size) {
  (void)data;
  *(size_t *)total += size;
}

int main(void) {
  static char text[8192];
  size_t size = fread(text, 1, sizeof text, stdin), at = 0, total = 0;
  br_pem_decoder_context decoder;
  br_pem_decoder_init(&decoder);
  while (at < size) {
    at += br_pem_decoder_push(&decoder, text + at, size - at);
    switch (br_pem_decoder_event(&decoder)) {
      case BR_PEM_BEGIN_OBJ:
        printf("name: %s\n", br_pem_decoder_name(&decoder));
        br_pem_decoder_setdest(&decoder, count, &total);
        break;
      case BR_PEM_END_OBJ: printf("bytes: %zu\n", total); break;
      case BR_PEM_ERROR: puts("error"); return 1;
    }
  }
  return 0;
}
C
library="$(dirname "$(find root -name 'libbearssl.a' | head -1)")"
cc -I root/usr/include names.c "$library/libbearssl.a" -o names
openssl genrsa 2048 2>/dev/null | openssl pkey -pubout >lf.pem
sed 's/$/\r/' lf.pem >crlf.pem
openssl pkey -pubin -in crlf.pem -noout
./names <lf.pem | tee lf.txt
./names <crlf.pem | tee crlf.txt
grep -qx "name: PUBLIC KEY" lf.txt && grep -qx "bytes: 294" lf.txt
grep -qx "name: PUBLIC KEY-----" crlf.txt && grep -qx "bytes: 294" crlf.txt
