"""What a device says and what it is answered, as values."""
