"""Identifiers: short, random, sortable by the time they were made."""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
ID_LENGTH = 26


def new_id() -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 random bits. 26 characters, sorts by time."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    out = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, 32)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))
