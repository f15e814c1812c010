"""The listener that devices talk to."""
