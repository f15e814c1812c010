"""otaseal: signed, encrypted over-the-air updates for the ESP8266, the ESP32 and the Pico, from PlatformIO.

Importing the package imports nothing else: hooks run inside every build, and a build pays for what it uses only.
"""

__version__ = "0.1.0"
