"""Certificates that every stack accepts: authorities, their places on disk, and a verdict on any chain.

`Authority` makes them, `store` keeps them, `check` judges a chain, whoever made it. Importing this package
loads nothing heavy; `cryptography` is imported where it is used.
"""

from __future__ import annotations

from .authority import Authority, Issued
from .profile import KeyType, Role

__all__ = ["Authority", "Issued", "KeyType", "Role"]
