"""Texts that people type, as every database can keep them."""

from __future__ import annotations

NUL_MARK = "\N{SYMBOL FOR NULL}"


def typed_text(value: str, most: int) -> str:
    """The text without blanks at its ends, with plain line ends, at most ``most`` characters long. What no database
    stores (NUL, halves of characters) becomes a visible mark."""
    clean = value.replace("\0", NUL_MARK).replace("\r\n", "\n").replace("\r", "\n")
    return clean.encode("utf-8", "replace").decode().strip()[:most]
