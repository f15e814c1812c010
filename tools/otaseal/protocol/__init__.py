"""Update requests of devices, and the decision on each, as values."""
