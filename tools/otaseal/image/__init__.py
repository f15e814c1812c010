"""Firmware images: signed, compressed, with a manifest, and what can be read in one."""
