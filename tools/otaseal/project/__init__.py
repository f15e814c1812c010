"""A PlatformIO project as its files describe it."""
