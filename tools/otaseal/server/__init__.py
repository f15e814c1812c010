"""The update server: devices on one listener, operators on another, and the public keys only.

Importing this package loads nothing heavy: Starlette and uvicorn are imported when a server starts.
"""
