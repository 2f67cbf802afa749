"""Identifiers: short, random, sortable by the time they were made."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u to misread
_TIME_LENGTH, _RANDOM_LENGTH = 10, 16
ID_LENGTH = _TIME_LENGTH + _RANDOM_LENGTH
_DIGITS = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))  # 256 is a multiple of 32: every digit is as likely


def new_id() -> str:
    """A ULID in lower case: 48 bits of milliseconds, then 80 random bits. 26 characters, sorts by time."""
    return _moment(time.time()) + os.urandom(_RANDOM_LENGTH).translate(_DIGITS).decode("ascii")


def first_id_at(seconds: float) -> str:
    """The least id that ``new_id`` could have made at this moment (seconds since 1970): older ones sort before it."""
    return _moment(seconds) + _ALPHABET[0] * _RANDOM_LENGTH


def _moment(seconds: float) -> str:
    milliseconds = int(seconds * 1000)
    return "".join([_ALPHABET[milliseconds >> shift & 31] for shift in range(5 * (_TIME_LENGTH - 1), -1, -5)])


def made_at(id_: str) -> float | None:
    """The moment in which an id was made, in seconds since 1970; None for a text that ``new_id`` cannot have made."""
    if len(id_) != ID_LENGTH or any(digit not in _ALPHABET for digit in id_):
        return None
    number = 0
    for digit in id_:
        number = number * 32 + _ALPHABET.index(digit)
    return (number >> 80) / 1000
