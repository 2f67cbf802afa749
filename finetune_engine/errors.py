"""The two kinds of error: those a person can mend, and those we must."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FailureReason = Literal[
    "bad_data",
    "bad_config",
    "oom_gpu",
    "oom_host",
    "diverged",
    "disk_full",
    "storage_unreachable",
    "worker_lost",
    "crash_loop",
    "deadline",
    "model_unavailable",
    "provider_error",
    "internal",
]


@dataclass(frozen=True)
class Place:
    """Where in the person's input the mistake is, and how to mend it. ``None`` means "does not apply"."""

    file: str | None = None
    row: int | None = None
    column: str | None = None
    found: str | None = None
    expected: str | None = None
    fix: str | None = None
    sheet: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields that apply, in a stable order."""
        return {name: value for name, value in vars(self).items() if value is not None}


class UserError(Exception):
    """Something the person can mend. Shown as it is; not logged as an error.

    ``code`` is stable and machine-readable, ``sentence`` is for people, ``field`` names the form field or
    API parameter at fault, ``reason`` is the job failure it leads to when it ends a job.
    """

    def __init__(
        self,
        code: str,
        sentence: str,
        field: str | None = None,
        *,
        place: Place | None = None,
        reason: FailureReason = "bad_data",
        status: int = 422,
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.field = field
        self.place = place or Place()
        self.reason: FailureReason = reason
        self.status = status

    def as_dict(self) -> dict[str, Any]:
        """``{code, message, field?, file?, row?, column?, found?, expected?, fix?}``."""
        out: dict[str, Any] = {"code": self.code, "message": self.sentence}
        if self.field is not None:
            out["field"] = self.field
        return out | self.place.as_dict()


@dataclass
class EngineError(Exception):
    """Something we must mend or the machine must give: logged with the job, never blamed on the person."""

    reason: FailureReason
    message: str
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message
