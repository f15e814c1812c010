"""Releases, channels and rollouts, as values."""
