"""Keys: where they lie, which are refused, and how they sign."""
