"""Projects that opt in to the hooks: the lines of platformio.ini, sketches, and keys made for the occasion."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.keys import signers
from otaseal.pki import Authority, Role

from .servers import Running

EXTRA_SCRIPTS = Path(__file__).resolve().parent.parent.parent / "extra_scripts"
SCOPES = {"verify_updates": "pre", "sign_firmware": "post", "pack_certs": "post", "ship": "post"}
ALL_HOOKS = tuple(SCOPES)

SELF_UPDATING = """\
#include <Arduino.h>
#include <ESP8266WiFi.h>
#include <ESP8266httpUpdate.h>

void setup() {}

void loop() {
  WiFiClient client;
  ESPhttpUpdate.update(client, "192.168.178.123", 8080, "/firmware.bin.signed");
}
"""

PICO_UPDATING = """\
#include <Arduino.h>
#include <HTTPUpdate.h>
#include <WiFi.h>

void setup() {}

void loop() {
  WiFiClient client;
  httpUpdate.update(client, "192.168.178.123", 8080, "/firmware.bin.signed");
}
"""
"""The same for a Pico."""

ESP32_LIBRARY = {
    "../lib/OtaSeal/OtaSeal.h": "#pragma once\nvoid pollForUpdates();\n",
    "../lib/OtaSeal/OtaSeal.cpp": """\
#ifdef ESP32
#include "OtaSeal.h"

#include <OtaSealBuild.h>
#include <Update.h>

static const uint8_t identity[] = OTASEAL_IDENTITY;
static const char *const keys[] = {
    OTASEAL_KEY,
#ifdef OTASEAL_NEXT_KEY
    OTASEAL_NEXT_KEY,
#endif
};
static const void *volatile kept[2];

void pollForUpdates() {
  kept[0] = identity;
  kept[1] = keys;
  if (Update.begin(1)) Update.end();
}
#endif
""",
}
"""What the hooks see of the OtaSeal library: where it is compiled, identity, keys, and that it writes updates."""

ESP32_SKETCH = """\
#include <Arduino.h>
#include <OtaSeal.h>

void setup() {}
void loop() { pollForUpdates(); }
"""
ESP32_SOURCES = {"main.cpp": ESP32_SKETCH, **ESP32_LIBRARY}
"""A sketch for an ESP32 that updates itself by the library."""


def opt_in(*hooks: str, folder: Path | str = EXTRA_SCRIPTS) -> list[str]:
    """Return the lines that attach `hooks`, with the extra scripts in `folder`."""
    return ["extra_scripts =", *(f"  {SCOPES[hook]}:{folder}/{hook}.py" for hook in hooks)]


def write_key(path: Path, key: rsa.RSAPrivateKey, passphrase: bytes | None = None) -> str:
    """Write a signing key and its public half; return the line of platformio.ini that names it."""
    signers.write_key_pair(path, key, passphrase)
    return f"custom_otaseal_signing_key = file:{path}"


def ca_certificate() -> bytes:
    """Return the PEM certificate of a new authority for update servers."""
    return Authority.create(role=Role.SERVER, product="blink", now=datetime.now(timezone.utc)).certificate_pem


def deploys_to(server: Running, folder: Path) -> list[str]:
    """Return the lines by which a project deploys to a server, with its token in a new file of `folder`."""
    token = folder / "token"
    files.write_new(token, f"{server.token}\n".encode(), files.PRIVATE_MODE)
    return [
        f"custom_otaseal_server = {server.url}",
        f"custom_otaseal_server_ca = {server.world.ca}",
        "custom_otaseal_product = blink",
        f"custom_otaseal_token_file = {token}",
    ]
