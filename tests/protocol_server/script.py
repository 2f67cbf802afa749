"""What happens to a job at the test's provider: one move each time somebody asks after the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Become:
    """The job's status from now on."""

    status: str


@dataclass(frozen=True)
class Report:
    """A metrics event, as one training step sends it."""

    step: int
    total: int
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A model that can be used already."""

    step: int
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Say:
    """A message event."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class Fail:
    """The job ends as failed, with the provider's error object."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Succeed:
    """The job ends well; its model and its result file are there."""

    trained_tokens: int = 4200


@dataclass(frozen=True)
class Stay:
    """Nothing moves any more, until the test does something."""


@dataclass(frozen=True)
class Call:
    """Something that the test does at this moment, in the server's thread."""

    what: Callable[[], object]


Move = Become | Report | Checkpoint | Say | Fail | Succeed | Stay | Call


def _numbers(step: int) -> dict[str, float]:
    return {"train_loss": round(2.0 / step, 4), "train_mean_token_accuracy": round(1 - 1.0 / (step + 1), 4)}


def ordinary(steps: int = 3) -> list[Move]:
    """A job that is checked, waits, learns for ``steps`` steps with a checkpoint at each of the last two, and succeeds."""
    moves: list[Move] = [
        Become("validating_files"),
        Become("queued"),
        Become("running"),
        Say("Fine-tuning job started"),
    ]
    for step in range(1, steps + 1):
        valid = {"valid_loss": round(2.5 / step, 4), "valid_mean_token_accuracy": round(1 - 1.2 / (step + 1), 4)}
        moves.append(Report(step, steps, _numbers(step) | valid))
        if step >= steps - 1:
            moves.append(Checkpoint(step, {"full_valid_loss": round(2.4 / step, 4)} | _numbers(step)))
    return [*moves, Succeed()]


def learning_then(*moves: Move) -> list[Move]:
    """A job that runs and has taken one step; then ``moves``."""
    return [Become("running"), Report(1, 10, _numbers(1)), *moves]
