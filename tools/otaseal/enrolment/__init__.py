"""Enrolment where people stand: a device on a serial cable, requests in files, and those that wait at a server.

The folder of authorities and an operator's credentials meet here; the server has neither. docs/adr/0021-enrolment.md
has the reasons.
"""
