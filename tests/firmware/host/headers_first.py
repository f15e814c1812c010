"""extraScript of the libraries here: their headers come before those of the framework, whose names some of them have.

Flags in library.json would put them behind.
"""

from __future__ import annotations

from pathlib import Path

Import("env", "pio_lib_builder")

framework = Path(pio_lib_builder.path).parents[2] / "devplatform" / "framework"
libraries = ("ESP8266WiFi", "ESP8266HTTPClient", "ESP8266httpUpdate", "LittleFS")
env.Prepend(
    CPPPATH=[
        pio_lib_builder.path,
        str(Path(pio_lib_builder.path).parent),
        str(framework / "cores" / "esp8266"),
        *(str(framework / "libraries" / name / "src") for name in libraries),
    ]
)
