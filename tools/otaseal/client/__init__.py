"""The operator's side of the update server."""
