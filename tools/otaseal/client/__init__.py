"""The client of the update server for operators."""
