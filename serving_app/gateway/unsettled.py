"""Tokens of answers that the log has not written down yet, by key."""

from __future__ import annotations

import threading

_tokens: dict[str, int] = {}
_lock = threading.Lock()


def add(key_id: str, tokens: int) -> None:
    """They were spent (or, negative, settled)."""
    with _lock:
        left = _tokens.get(key_id, 0) + tokens
        if left:
            _tokens[key_id] = left
        else:
            _tokens.pop(key_id, None)


def of(key_id: str) -> int:
    """How many wait."""
    return _tokens.get(key_id, 0)
