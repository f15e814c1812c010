"""What is read of libraries as they lie on the disk: of good manifests, poor ones, and hostile ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otaseal.sbom.parts import MAX_TEXT, Kind, Part, read_part

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGES: list[tuple[str, dict[str, object], tuple[str, str, str, str, str]]] = [
    (
        "library.json",
        {
            "name": "ArduinoJson",
            "version": "7.4.2",
            "authors": {"name": "Benoit Blanchon", "email": "x@y.example"},
            "repository": {"type": "git", "url": "https://github.com/bblanchon/ArduinoJson.git"},
            "license": "MIT",
        },
        ("ArduinoJson", "7.4.2", "Benoit Blanchon", "MIT", "pkg:github/bblanchon/arduinojson@7.4.2"),
    ),
    (
        "library.json",
        {
            "name": "PubSubClient",
            "version": "2.8",
            "repository": {"url": "git+ssh://git@github.com/knolleary/pubsubclient"},
        },
        ("PubSubClient", "2.8", "", "", "pkg:github/knolleary/pubsubclient@2.8"),
    ),
    (
        "library.json",
        {"name": "Lonely", "authors": [{"name": "A"}, {"name": "B"}], "homepage": "https://example.com/lonely"},
        ("Lonely", "", "A", "", "pkg:generic/a/Lonely@"),
    ),
    (
        "module.json",
        {"name": "mbed-dial", "version": "0.2.0", "author": "Ada <ada@x.example>", "license": "Unknown"},
        ("mbed-dial", "0.2.0", "Ada", "", "pkg:generic/ada/mbed-dial@0.2.0"),
    ),
    (
        "package.json",
        {"name": "framework-arduinoespressif32", "version": "3.20017.0", "repository": "https://gitlab.com/a/b.git"},
        ("framework-arduinoespressif32", "3.20017.0", "", "", "pkg:generic//framework-arduinoespressif32@3.20017.0"),
    ),
]


@pytest.mark.parametrize(("name", "said", "expected"), PACKAGES, ids=[str(row[1]["name"]) for row in PACKAGES])
def test_manifests(tmp_path: Path, name: str, said: dict[str, object], expected: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(json.dumps(said))
    part = read_part(Kind.LIBRARY, tmp_path, {})
    kind, namespace, named, version = part.purl
    purl = f"pkg:{kind}/{namespace}/{named}@{version}"
    assert (part.name, part.version, part.owner, part.licence, purl) == expected


def test_arduinos_properties_and_what_platformio_installed(tmp_path: Path) -> None:
    text = "\ufeffname=Adafruit BusIO\r\nversion=1.17.0\r\nauthor=Adafruit <info@x.example>, Somebody\r\n"
    text += "url=https://github.com/adafruit/Adafruit_BusIO\r\nlicense=MIT\r\n"
    (tmp_path / "library.properties").write_text(text, encoding="utf-8", newline="")
    part = read_part(Kind.LIBRARY, tmp_path, {})
    assert (part.name, part.version, part.owner, part.licence) == ("Adafruit BusIO", "1.17.0", "Adafruit", "MIT")
    assert part.purl == ("github", "adafruit", "adafruit_busio", "1.17.0")
    installed = {
        "name": "BusIO",
        "version": "1.18.0+sha.0123abc",
        "owner": "adafruit",
        "uri": "git+https://t:s@host.example/b.git",
    }
    part = read_part(Kind.LIBRARY, tmp_path, installed)
    assert (part.name, part.version, part.owner, part.commit) == ("BusIO", "1.18.0+sha.0123abc", "adafruit", "0123abc")
    assert part.source == "https://host.example/b.git", "without the password"
    assert part.licence == "MIT"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff\xfe", b'{"name": 3, "version": [], "authors": {}}', b"[" * 100_000, b"x" * 300_000],
)
def test_what_cannot_be_read_is_unknown(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "Foo"
    folder.mkdir()
    (folder / "library.json").write_bytes(content)
    part = read_part(Kind.LIBRARY, folder, {})
    assert (part.name, part.version, part.licence, part.source) == ("Foo", "", "", "")
    (folder / "library.json").write_text(json.dumps({"license": "x" * 5000, "repository": "javascript:alert(1)"}))
    part = read_part(Kind.LIBRARY, folder, {})
    assert (len(part.licence), part.source) == (MAX_TEXT, "")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Ada <ada@x.example>", "Ada"),
        ("Ada Lovelace (ada@x.example)", "Ada Lovelace"),
        ("ada@x.example", ""),
        ("A <a@x.example>, B", "A"),
        ("@ada", "@ada"),
    ],
)
def test_no_address_of_a_person_is_taken(tmp_path: Path, said: str, name: str) -> None:
    (tmp_path / "library.properties").write_text(f"name=Foo\nauthor={said}\n")
    assert read_part(Kind.LIBRARY, tmp_path, {}).owner == name


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("https://x.example/a b/{c}|d", "https://x.example/a%20b/%7Bc%7D%7Cd"),
        ("https://x.example/50%/%C3%A4", "https://x.example/50%25/%C3%A4"),
        ("https://x.example/#one#two", "https://x.example/#one%23two"),
        ("https://X.example:8443/a", "https://x.example:8443/a"),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://x.example:port/a", ""),
        ("http://[::1/a", ""),
        ("https://x y.example/", ""),
        ("git@x.example:ada/dial.git#v1", "ssh://x.example/ada/dial.git#v1"),
        ("git+git@github.com:ada/dial.git", "ssh://github.com/ada/dial.git"),
        ("C:\\ada\\dial", ""),
        ("C:/ada/dial", ""),
        (f"https://x.example/{'ä' * 200}", ""),
    ],
)
def test_an_address_is_a_valid_one_or_none(tmp_path: Path, said: str, address: str) -> None:
    (tmp_path / "library.json").write_text(json.dumps({"name": "/", "repository": said}))
    part = read_part(Kind.LIBRARY, tmp_path, {"uri": said})
    assert (part.source, part.name) == (address, tmp_path.name)


@pytest.mark.parametrize(
    ("uri", "version", "revision"),
    [
        (f"https://github.com/Ada/Dial/archive/{COMMIT}.zip", "2.3.0", COMMIT),
        ("https://github.com/Ada/Dial/archive/refs/tags/v2.3.4.tar.gz", "2.3.0", "v2.3.4"),
        ("https://github.com/Ada/Dial/archive/2.3.4.zip", "2.3.0", "2.3.4"),
        ("https://github.com/Ada/Dial/releases/download/2.3.4/Dial-arduino.zip", "2.3.0", "2.3.4"),
        ("https://github.com/Ada/Dial/archive/refs/heads/main.zip", "2.3.0", ""),
        ("git+https://github.com/Ada/Dial.git#v2.3.4", "2.3.0+sha.0123abc", "0123abc"),
        ("git+git@github.com:ada/dial.git", "2.3.0+sha.0123abc", "0123abc"),
        ("git+https://github.com/Ada/Dial.git", "2.3.0+1.sha.0123abc", "0123abc"),
        (f"git+https://github.com/Ada/Dial.git#{COMMIT}", "2.3.0+sha.0123456", COMMIT),
        ("", "2.3.0", "2.3"),
        ("", "2.3.1", "2.3.1"),
    ],
)
def test_on_github_a_version_is_the_commit_or_the_tag(tmp_path: Path, uri: str, version: str, revision: str) -> None:
    repository = "https://github.com/ada/dial"
    (tmp_path / "library.json").write_text(json.dumps({"name": "Dial", "version": "2.3", "repository": repository}))
    part = read_part(Kind.LIBRARY, tmp_path, {"version": version, "uri": uri})
    assert part.version == version
    if revision:
        assert part.purl == ("github", "ada", "dial", revision)
    else:
        assert part.purl[0] == "generic", "a branch is no version"
    assert part.commit == (revision if revision[:7] == "0123abc" or len(revision) == 40 else "")


@pytest.mark.parametrize(
    ("said", "noted", "upstream"),
    [
        ("2.3", "2.3.0", "2.3"),
        ("2", "2.0.0", "2"),
        ("0.4.9.1", "0.4.9+1", "0.4.9.1"),
        ("2.0.0.rc1", "2.0.0+rc1", "2.0.0.rc1"),
        ("v2.0", "0.0.0+v2.0", "v2.0"),
        ("2.3.4", "2.3.4", ""),
        ("2.3", "2.4.0", ""),
        ("", "2.3.4", ""),
    ],
)
def test_the_authors_version_is_kept_beside_what_platformio_makes_of_it(
    tmp_path: Path, said: str, noted: str, upstream: str
) -> None:
    about = {"name": "Dial", "version": said, "repository": "https://github.com/ada/dial"}
    (tmp_path / "library.json").write_text(json.dumps(about))
    part = read_part(Kind.LIBRARY, tmp_path, {"version": noted})
    assert (part.version, part.upstream) == (noted, upstream)
    assert part.purl[3] == (upstream or noted)


def test_what_one_manifest_lacks_the_other_says(tmp_path: Path) -> None:
    (tmp_path / "library.json").write_text('{"name": "Foo", "version": "2.0"}')
    (tmp_path / "library.properties").write_text("name=Bar\nversion=1.0\nlicense=MIT\n")
    part = read_part(Kind.LIBRARY, tmp_path, {})
    assert (part.name, part.version, part.licence) == ("Foo", "2.0", "MIT")


def test_a_part_of_a_framework_is_not_its_repository(tmp_path: Path) -> None:
    part = Part(Kind.LIBRARY, "ESP8266WiFi", "1.0", source="https://github.com/esp8266/Arduino", within="framework-x")
    assert part.purl == ("generic", "framework-x", "ESP8266WiFi", "1.0")


def test_the_commit_and_the_names_of_frameworks(tmp_path: Path) -> None:
    header = tmp_path / "cores" / "esp32" / "core_version.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define ARDUINO_ESP32_GIT_VER 0xDC859C1E\n#define ARDUINO_ESP32_GIT_DESC 2.0.17\n")
    assert read_part(Kind.FRAMEWORK, tmp_path, {}).commit == "dc859c1e"
    known = Part(Kind.FRAMEWORK, "framework-arduinoespressif32", "3.20017.241212", upstream="2.0.17")
    assert known.cpe == "cpe:2.3:a:espressif:arduino-esp32:2.0.17:*:*:*:*:*:*:*"
    assert Part(Kind.FRAMEWORK, "framework-espidf", "3.50301.0", upstream="5.3.1").cpe.startswith(
        "cpe:2.3:a:espressif:esp-idf:5.3.1:"
    )
    assert Part(Kind.FRAMEWORK, "framework-espidf", "5.3+sha.1:*").cpe == "", "nothing that would mean another name"
    assert Part(Kind.LIBRARY, "Foo", "1.0").cpe == ""
    assert Part(Kind.LIBRARY, "wolfssl", "5.8.2", "wolfssl").cpe == "cpe:2.3:a:wolfssl:wolfssl:5.8.2:*:*:*:*:*:*:*"
    assert Part(Kind.LIBRARY, "wolfssl", "5.8.2", "somebody").cpe == "", "a name is anybody's"
    assert Part(Kind.LIBRARY, "Nanopb", "0.4.9", source="https://github.com/nanopb/nanopb.git").cpe
    assert Part(Kind.LIBRARY, "nanopb", "0.4.9", source="https://github.com/ada/nanopb.git").cpe == "", "a fork"
