"""What a cache holds of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finetune_engine.serve.exchange import Usage


@dataclass(frozen=True)
class Kept:
    """Enough of an answer to tell it again, whole or as a stream: ``(text, finish reason)`` of each choice.
    ``tool_calls`` are the calls of each choice in OpenAI's shape, empty when no tool was offered."""

    choices: tuple[tuple[str, Any], ...]
    usage: Usage
    extension: dict[str, Any]
    tool_calls: tuple[Any, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it can be told again as it was: a choice that ended in tool calls has them."""
        calling = any(finish == "tool_calls" for _, finish in self.choices)
        return not calling or len(self.tool_calls) == len(self.choices)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "choices": [list(choice) for choice in self.choices],
            "usage": [self.usage.prompt_tokens, self.usage.completion_tokens],
            "extension": self.extension,
            "tool_calls": list(self.tool_calls),
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Kept:
        """Read what ``as_dict`` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            choices=tuple((text, finish) for text, finish in body["choices"]),
            usage=Usage(*body["usage"]),
            extension=dict(body["extension"]),
            tool_calls=tuple(body["tool_calls"]),
        )


@dataclass(frozen=True)
class Found:
    """A kept answer and why it fits: ``kind`` is a ``choices.CacheKind``; ``entry_id`` and ``similarity`` belong to a
    semantic one."""

    kept: Kept
    kind: str
    entry_id: str = ""
    similarity: float | None = None
