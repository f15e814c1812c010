"""Certificates and `certs.ar`: reading them, packing them, and what a device makes of them."""
