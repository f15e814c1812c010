"""A virtual ESP8266, and in `pico` a Pico: how a device judges a server, its certificates and its firmware.

Written from the sources of core, BearSSL and eboot. It imports nothing of the signing and serving side but the errors,
so that its judgement is independent. Time, flash and network come from outside.
"""
