"""The listener that operators talk to."""
