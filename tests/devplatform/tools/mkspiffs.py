"""SPIFFS is the real platform's default (F15), and nothing in this project wants one: say so, and fail."""

import sys

sys.exit("error: no SPIFFS images here: set `board_build.filesystem = littlefs`")
