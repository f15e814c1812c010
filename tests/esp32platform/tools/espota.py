"""Send an image to an ESP32 over the air: as the ESP8266's tool, to port 3232, and never a signed file beside it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_path = Path(__file__).resolve().parents[2] / "devplatform" / "tools" / "espota.py"
_spec = importlib.util.spec_from_file_location("espota", _path)
assert _spec is not None
assert _spec.loader is not None
_espota = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_espota)
_espota.image_at = Path.read_bytes

if __name__ == "__main__":
    if not any(word.startswith(("-p", "--port")) for word in sys.argv):
        sys.argv[1:1] = ["-p", "3232"]
    sys.exit(_espota.main())
