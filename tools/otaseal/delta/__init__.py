"""Delta updates: the patch that makes a signed image from the image that a device runs, and nothing else.

`making` computes a patch, `applying` is the reference of what a chip does with it, and they share the format only:
docs/delta-format.md. Pure: bytes in, bytes out.
"""
