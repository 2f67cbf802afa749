"""Models that think before they answer: where their thoughts begin and end.

They write ``<think>...</think>`` first. Some templates open the tag at the end of the prompt; then only its end is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

THINK = "<think>"
THINK_END = "</think>"


def thinks(template: str) -> bool:
    """Whether a model with this chat template writes its thoughts in the tag."""
    return THINK_END in template


def opens_thoughts(tokenizer: Any, prompt: Sequence[int]) -> bool:
    """Whether the prompt (token ids) ends inside thoughts."""
    return str(tokenizer.decode(list(prompt[-8:]), skip_special_tokens=False)).rstrip().endswith(THINK)


def token_of(tokenizer: Any, text: str) -> int | None:
    """The id of the one token that is ``text``; None when there is none."""
    token = tokenizer.convert_tokens_to_ids(text)
    return token if token is not None and tokenizer.convert_ids_to_tokens(token) == text else None
