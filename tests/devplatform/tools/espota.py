"""Send an image to a device over the air: `espota.py -i 192.168.1.9 -f firmware.bin`.

An invitation by UDP (command, port, size, MD5), a password exchange if the device wants one, and the device fetches the
image by TCP, answering every piece with a number and the whole with OK. A file `<image>.signed` beside the image is
sent in its place (F31). Every wait has an end, a device that hangs up without an answer included.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import socket
import sys
from pathlib import Path

FLASH, FILESYSTEM, AUTHENTICATE = 0, 100, 200
PIECE = 1460
ANSWER_SECONDS = 10
RESULT_SECONDS = 60
REPLY_LIMIT = 1024


class EspotaError(Exception):
    """What the tool logs and fails with."""


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def image_at(path: Path) -> bytes:
    """Return the bytes to send for `path`: those of the signed file if there is one."""
    signed = path.with_name(f"{path.name}.signed")
    if signed.is_file():
        print(f"Detected Signed Update. {signed} will be uploaded instead.", file=sys.stderr)
        path = signed
    return path.read_bytes()


def ask(udp: socket.socket, message: str) -> str:
    udp.send(message.encode())
    try:
        return udp.recv(128).decode(errors="replace")
    except OSError as error:
        raise EspotaError("No Answer") from error


def invite(udp: socket.socket, message: str, password: str) -> None:
    """Have the device accept the upload that `message` announces. Raises EspotaError if it does not."""
    answer = ask(udp, message)
    if answer.startswith("AUTH "):
        nonce, own_nonce = answer.split()[1], md5(message.encode())
        response = md5(f"{md5(password.encode())}:{nonce}:{own_nonce}".encode())
        answer = ask(udp, f"{AUTHENTICATE} {own_nonce} {response}\n")
        print(f"Authenticating...{'OK' if answer == 'OK' else 'FAIL'}", file=sys.stderr)
    if answer != "OK":
        raise EspotaError(f"Bad Answer: {answer}")


def send(connection: socket.socket, image: bytes, progress: bool) -> None:
    """Send `image` piece by piece and wait for the device's verdict. Raises EspotaError unless that is OK."""
    reply = ""
    connection.settimeout(ANSWER_SECONDS)
    for start in range(0, len(image), PIECE):
        connection.sendall(image[start : start + PIECE])
        reply = answer_of(connection)
        if progress:
            print(f"\rUploading: {100 * min(start + PIECE, len(image)) // len(image)}%", end="", file=sys.stderr)
    print(file=sys.stderr)
    connection.settimeout(RESULT_SECONDS)
    while "E" not in reply and "O" not in reply:  # the letters of OK and ERROR; until then there are digits
        reply += answer_of(connection)
        if len(reply) > REPLY_LIMIT:
            raise EspotaError(f"Bad Answer: {reply[:64]}")
    if "E" in reply:
        raise EspotaError(reply)


def answer_of(connection: socket.socket) -> str:
    answer = connection.recv(64).decode(errors="replace")
    if not answer:
        raise EspotaError("No Result!")
    return answer


def upload(args: argparse.Namespace) -> None:
    image = image_at(args.image)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as server:
        udp.settimeout(ANSWER_SECONDS)
        udp.connect((args.ip, args.port))
        server.settimeout(ANSWER_SECONDS)
        server.bind((args.host_ip or udp.getsockname()[0], args.host_port))
        server.listen(1)
        command = FILESYSTEM if args.spiffs else FLASH
        logging.info("Upload size: %d", len(image))
        logging.info("Sending invitation to: %s", args.ip)
        invite(udp, f"{command} {server.getsockname()[1]} {len(image)} {md5(image)}\n", args.auth)
        logging.info("Waiting for device...")
        connection, _ = server.accept()
        with connection:
            send(connection, image, args.progress)
    logging.info("Result: OK")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="send an image to a device over the air")
    parser.add_argument("-i", "--ip", required=True)
    parser.add_argument("-I", "--host_ip", default="", help="default: the address that faces the device")
    parser.add_argument("-p", "--port", type=int, default=8266)
    parser.add_argument("-P", "--host_port", type=int, default=0, help="default: any free port")
    parser.add_argument("-a", "--auth", default="", help="the device's password")
    parser.add_argument("-f", "--file", dest="image", type=Path, required=True)
    parser.add_argument("-s", "--spiffs", action="store_true", help="the image is a filesystem's")
    parser.add_argument("-d", "--debug", action="store_true")
    parser.add_argument("-r", "--progress", action="store_true")
    return parser


def main() -> int:
    args = arguments().parse_args()
    level = logging.DEBUG if args.debug else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)-8s [%(levelname)s]: %(message)s", datefmt="%H:%M:%S")
    logging.debug("Options: %s", {**vars(args), "auth": "*" * bool(args.auth)})
    try:
        upload(args)
    except (EspotaError, OSError) as error:
        logging.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
