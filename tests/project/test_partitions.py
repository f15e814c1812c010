"""Which partition tables of an ESP32 leave no room for updates: the core's by name, a project's own by its lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from otaseal.errors import InputError
from otaseal.project import partitions

WITH_ONE = """huge_app bare_minimum_2MB insights minimal max_app_8MB no_ota noota_3g noota_3gffat noota_ffat
    app1M_nota_spiffs14M_16MB rainmaker_4MB_no_ota storage_4MB_noota tinyuf2-partitions-8MB-noota zigbee_2MB
    zigbee_zczr_2MB partitions-4MB-1ota"""
WITH_TWO = """default default_8MB default_16MB default_ffat ffat min_spiffs no_fs large_spiffs_16MB large_littlefs_32MB
    app3M_fat9M_16MB esp_sr_16 kodedot_partitions rainmaker spiffs_16m tinyuf2-partitions-4MB zigbee zigbee_8MB"""

ONE = "# Name, Type, SubType, Offset, Size, Flags\nnvs, data, nvs, 0x9000, 20K,\napp0, app, {}, 0x10000, 1M,\n"
TWO = ONE + "app1, {}, {}, , 1M,\nspiffs, data, spiffs, , 512K,\n"


def one_slot(folder: Path, **options: str) -> str:
    given = {"platform": "espressif32", **{name.replace("__", "."): value for name, value in options.items()}}
    return partitions.one_slot(given.get, folder)


@pytest.mark.parametrize("table", WITH_ONE.split())
def test_tables_of_the_core_with_one_slot(table: str, tmp_path: Path) -> None:
    assert one_slot(tmp_path, board_build__partitions=f"{table}.csv") == f"{table}.csv"
    assert one_slot(tmp_path, board_build__arduino__partitions=f"{table}.csv") == f"{table}.csv"


@pytest.mark.parametrize("table", WITH_TWO.split())
def test_tables_of_the_core_with_two(table: str, tmp_path: Path) -> None:
    assert one_slot(tmp_path, board_build__partitions=f"{table}.csv") == ""


def test_a_board_chooses_where_the_project_does_not(tmp_path: Path) -> None:
    assert one_slot(tmp_path, board="esp32cam") == "esp32cam"
    assert one_slot(tmp_path, board="esp32cam", board_build__partitions="min_spiffs.csv") == ""
    assert one_slot(tmp_path, board="esp32dev") == ""
    assert one_slot(tmp_path, platform="espressif8266", board_build__partitions="huge_app.csv") == ""


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        (ONE.format("factory"), False),
        (ONE.format("ota_0"), False),
        (ONE.format("ota_0") + "#app1, app, ota_1, , 1M,\n", False),
        (TWO.format("factory", "app", "ota_0"), False),
        (TWO.format("ota_0", "app", "ota_1"), True),
        (TWO.format("0x10", "0", "0x11"), True),
        (TWO.format("OTA_0", "App", "ota_1").replace("\n", "\r\n"), True),
        ("", False),
    ],
)
def test_a_table_of_the_project_is_read(text: str, enough: bool, tmp_path: Path) -> None:
    (tmp_path / "no_ota.csv").write_text(text)
    assert one_slot(tmp_path, board_build__partitions="no_ota.csv") == ("" if enough else "no_ota.csv")


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(bytes(partitions.MAX_SIZE + 1))
    with pytest.raises(InputError, match=r"table\.csv"):
        one_slot(tmp_path, board_build__partitions="table.csv")
