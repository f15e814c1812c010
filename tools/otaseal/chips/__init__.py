"""Chip families: how an image is read and checked, and what each core release accepts."""
