"""The server as a process: what it is started with, what runs beside its answers, and its end."""
