"""A virtual ESP8266, and in `pico` a Pico: what a device makes of a server, its certificates and its firmware.

Written from what the core, BearSSL and eboot do, and sharing no code with the side that signs and serves: nothing of
ours is imported here but the errors, so that it judges independently. Time, flash and the network come from outside.
"""
