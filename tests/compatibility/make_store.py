"""Make a store with one of everything in it, and keep it as a fixture: a later otaseal has to work with this one's.

    PYTHONPATH=tools:tests python tests/compatibility/make_store.py tests/compatibility/store-NUMBER.tar.xz

For each change of what a store holds one more is made, by the code of that day, and none is ever replaced. The images
are synthetic; keys are made here and forgotten: what is kept has public halves and signatures only.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from otaseal.certs import ar
from otaseal.image.firmware import Firmware
from otaseal.image.manifest import Claim
from otaseal.keys import public
from otaseal.pki.profile import Role
from otaseal.pki.store import INDEX_FILE, REVOKED_FILE
from otaseal.pki.store import Store as Authorities
from otaseal.release import signed_archive
from otaseal.release.admission import Policy, admit
from otaseal.release.channels import Pointer
from otaseal.release.records import Origin, Release
from otaseal.store.backup import backup
from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.devices import Devices
from otaseal.store.files import DEVICES_FILE, LOCK
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from support.board_images import build, signed
from support.images import Signer
from support.rsa_keys import make_rsa

NOW = datetime(2026, 11, 27, 12, tzinfo=timezone.utc)
SECONDS = NOW.timestamp()
PRODUCT, CHANNEL = "blink", "stable"
VERSIONS = {
    "0.8": ("nodemcuv2",),
    "0.9": ("nodemcuv2",),
    "1.0": ("nodemcuv2",),
    "1.1": ("nodemcuv2",),
    "2.0": ("esp32dev",),
    "3.0": ("nodemcuv2", "rpipicow"),
}
"""Boards of each release: records of the formats 2, 1, 2, 2, 3 and 4. Nobody needs the first."""


def main(path: Path) -> None:
    if path.exists():
        sys.exit(f"'{path}' is kept as it is: name a new file")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fill(place, make_rsa(2048, 7))
        with tarfile.open(path, "x:xz", format=tarfile.USTAR_FORMAT) as tar:
            for file in sorted(place.rglob("*")):
                if file.is_file() and file.name != LOCK:
                    tar.add(file, file.relative_to(place).as_posix(), filter=_anonymous)


def fill(place: Path, key: RSAPrivateKey) -> None:
    """Make `store`, its `backup.tar`, and what is public of the authorities, in the folder `place`."""
    store = Store.create(place / "store")
    store.add_key(PRODUCT, "frozen", public.public_pem(key.public_key()))
    releases = {version: _publish(store, key, version) for version in VERSIONS}
    store.point(PRODUCT, CHANNEL, Pointer("0.9"), expected=0, by="token:ci")
    store.point(PRODUCT, CHANNEL, Pointer("1.0"), expected=1, by="token:ci")
    store.point(PRODUCT, CHANNEL, Pointer("1.1", 25, "salt", max_failed=10, patience=120), expected=2, by="token:ci")
    store.point(PRODUCT, "beta", Pointer("3.0", 50, "pepper", halted=True), expected=0, by="rollout")
    store.point(PRODUCT, "lamp", Pointer("2.0"), expected=0, by="token:ci")
    _authorities(store, place, key)
    TokenFile(store.directory).issue("ci", PRODUCT, CHANNEL, 3660, NOW)
    _devices(store, releases)
    backup(store, place / "backup.tar")


def _publish(store: Store, key: RSAPrivateKey, version: str) -> Release:
    boards = VERSIONS[version]
    claims = [Claim(PRODUCT, board, version, 3, int(SECONDS)) for board in boards]
    files = [signed(build(claim, key), claim, key) for claim in claims]
    origin = Origin(PRODUCT, version, f"2026-11-2{len(store.releases(PRODUCT))}T12:00:00Z", boards[0], "abcdef1")
    release = admit([Firmware(data) for data in files], origin, Policy(PRODUCT, [key.public_key()]), None, boards)
    if version == "0.9":  # as the first otaseal wrote it, which knew neither manifests nor keys in the firmware
        release = replace(release, embedded_keys=None, library=False, security_counter=None, board_id=None)
    store.publish(release, files, "token:ci", "passed")
    return release


def _authorities(store: Store, place: Path, key: RSAPrivateKey) -> None:
    with tempfile.TemporaryDirectory() as secret:
        authorities = Authorities.create(Path(secret), PRODUCT, NOW)
        for name in ("kitchen", "hall"):
            authorities.issue_device(name, now=NOW)
        authorities.revoke(Role.DEVICE, "hall", now=NOW)
        (place / "authorities").mkdir()
        for name in (INDEX_FILE, REVOKED_FILE):
            (place / "authorities" / name).write_bytes((Path(secret) / name).read_bytes())
        archive = ar.serialise([ar.Member(f"{n}.der", der) for n, der in enumerate(authorities.roots_to_pack(NOW))])
    sealed = signed_archive.sign(archive, Claim(PRODUCT, counter=3, build_time=int(SECONDS)), Signer(key), NOW)
    record = signed_archive.admit(sealed, PRODUCT, [key.public_key()], None, None, NOW)
    store.publish_archive(PRODUCT, CHANNEL, record, sealed, expected=0, by="token:ci")


def _devices(store: Store, releases: dict[str, Release]) -> None:
    """Note devices in each state: up to date, delivered to, in a loop, failed, and one that only asked."""
    one, other = releases["1.0"].sketch_md5[2], releases["1.1"].sketch_md5[2]
    with Devices(store.directory / DEVICES_FILE) as devices, devices.batch() as rows:
        for number, md5 in enumerate((one, one, one, "f" * 32, other)):
            mac = f"5C:CF:7F:00:00:{number:02X}"
            rows.see(Sighting(PRODUCT, CHANNEL, mac, md5, "1.0", mac, 3, 0, "ab" * 32), SECONDS)
            if number < 3:
                rows.offer(Asking(PRODUCT, mac), "1.1", other, SECONDS + 1)
            for _ in range((1, 3, 0, 0, 0)[number]):
                rows.deliver(Asking(PRODUCT, mac), "1.1", SECONDS + 2)
        rows.see(Sighting(PRODUCT, CHANNEL, "5C:CF:7F:00:00:00", other, "1.1", error=0), SECONDS + 3)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(SECONDS)
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]))
