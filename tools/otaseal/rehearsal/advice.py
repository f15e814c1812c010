"""What to do about a step that fails: the fix by step and fact where one fact has several, else by either. Pure."""

from __future__ import annotations

from ..device.steps import Step

__all__ = ["fix"]

_IN_STEP = {
    "certificate-chain": {
        "F17": "put the server's authority into the project's certificates, and ship them: -t uploadfs",
        "F20": "renew the server's certificate: otaseal pki renew; a server that runs takes it by itself",
    },
    "manifest": {"F11": "build for this product and board, with a security counter that is not lower"},
    "write": {"F29": "look at the connection and the server: the download did not come to its end"},
    "answer": {"F28": "look at the server's log: it gives this device no firmware"},
}
_BY_FACT = {
    "F1": "sign with the key whose public half the running firmware carries: 'otaseal doctor' compares them",
    "F2": "sign with an RSA key of 2048 to 4096 bits",
    "F3": "this core verifies the legacy signature: give the fleet one bridge release that is signed so",
    "F7": "build with the flash mode that the devices were flashed with (board_build.flash_mode), or publish a gzip",
    "F8": "sign with sign_firmware.py, which pads a gzip to a multiple of 4",
    "F8b": "publish the raw image for this core: custom_otaseal_compress = no",
    "F9": "publish what the build made: firmware.bin.signed",
    "F10": "choose a layout with a smaller filesystem (board_build.ldscript), compress, or make the firmware smaller",
    "F11": "give devices the OtaSeal library, which reads the signed manifest",
    "F15": "set board_build.filesystem = littlefs, and ship it with -t uploadfs",
    "F15b": "let PlatformIO build the image (-t buildfs): it has to be LittleFS 2.0 in the partition's own geometry",
    "F16": "pack the archive with pack_certs.py or 'otaseal certs pack', and ship it with -t uploadfs",
    "F17": "leave one of the two certificates with the same subject out",
    "F18": "use an authority whose subject has at least 32 bytes, as those of 'otaseal pki' have",
    "F18b": "pack the archive with pack_certs.py, which makes one member of each certificate",
    "F18c": "use an authority whose certificate says CA:TRUE",
    "F19": "use an authority with an RSA or a P-256 key",
    "F21": "offer TLS 1.2 on the server",
    "F22": "issue the server a certificate with the name or address that devices use: otaseal pki server",
    "F23": "issue the certificate from the server authority, without critical extensions",
    "F26": "use RSA of 2048 to 4096 bits or P-256 for the server's chain",
    "F27b": "send the chain in order, leaf first, as otaseal serve sends chain.pem",
    "F25": "set the clock before the update (configTime), with the build's time as its floor",
    "F27": "let the server negotiate short records, or give the device a larger heap",
    "F29": "let otaseal serve answer, or a server that sends Content-Length and does not chunk",
    "F30": "do not sign, compress or change the firmware behind the server's back: its MD5 is that of firmware.bin",
}
_BY_STEP = {
    "filesystem": "build and ship the filesystem: pio run -t uploadfs",
    "certificates": "pack the certificates (pack_certs.py), and ship them: pio run -t uploadfs",
    "heap": "lower the buffers with setBufferSizes, or free memory before the update",
    "handshake": "look at the server with 'otaseal pki check <host:port>'",
    "certificate-chain": "look at the chain with 'otaseal pki check <host:port>', and at the project's certificates",
    "client-certificate": "give the device's certificate with --device-cert, and check that it is not revoked",
    "request": "check that the server answers on that port",
    "answer": "look at the server's log: the answer is not the one that devices need",
    "space": _BY_FACT["F10"],
    "first-byte": _BY_FACT["F9"],
    "manifest": "build for this product and board, with a security counter that is not lower",
    "write": "look at the connection: the download did not come to its end",
    "signature": _BY_FACT["F1"],
    "image": "build for the flash size of the device",
    "copy": _BY_FACT["F8b"],
    "boot": "build the firmware again",
}


def fix(step: Step) -> str:
    """Return what a person does about `step`, empty where it did not fail."""
    if step.ok:
        return ""
    found = _IN_STEP.get(step.name, {}).get(step.fact) or _BY_FACT.get(step.fact)
    return found or _BY_STEP.get(step.name, "see docs/rehearsal.md")
