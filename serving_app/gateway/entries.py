"""One line of the prediction log on its way to the database.

It has the attribute names of ``models.Prediction``. A model instance costs several times as much to make, and a web process
makes one for every question.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(slots=True)
class Entry:
    """See ``models.Prediction``. ``settles_tokens``: its key has a limit on tokens, so they are added to the running windows."""

    request_id: str
    project_id: str
    door: str
    model_name: str
    latency_seconds: float
    at: datetime
    deployment_id: str | None = None
    task: str = ""
    model_digest: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    question_text: str = ""
    question_length: int = 0  # characters, counted before the text is masked or left out
    output: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    first_token_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    confidence: float | None = None
    calibrated: float | None = None
    needs_human: bool = False
    cached: bool = False
    cache_kind: str = ""
    shadow_of: str = ""
    served_by: str = ""
    is_masked: bool = False
    status: int = 200
    error: str = ""
    api_key_id: str | None = None
    user_id: str | None = None
    settles_tokens: bool = False

    @property
    def tokens(self) -> int:
        """What a model worked for: an answer that was kept costs nothing."""
        return 0 if self.cached else (self.prompt_tokens or 0) + (self.completion_tokens or 0)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A question that was turned away before a model heard of it. Counted, never written down: a flood must stay cheap."""

    project_id: str
    api_key_id: str
    model_name: str
    at: datetime
