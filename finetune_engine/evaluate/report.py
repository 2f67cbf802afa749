"""The report of an evaluation, as dataclasses and as the JSON the site keeps."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from finetune_engine.evaluate.texts.words import whole_characters

VerdictKind = Literal["ship", "do_not_ship", "more_cases"]


@dataclass(frozen=True)
class Score:
    """One metric of one model. The interval is None where none can be given; ``signature`` says how it was made."""

    metric: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    higher_is_better: bool
    signature: str


@dataclass(frozen=True)
class ClassScore:
    """How one class fared. ``support`` is how many test cases truly belong to it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Confusion:
    """``matrix[i][j]``: how many cases of ``labels[i]`` were answered with ``labels[j]``."""

    labels: list[str]
    matrix: list[list[int]]


@dataclass(frozen=True)
class ModelReport:
    """All scores of one model. ``per_class`` and ``confusion`` are empty outside classification."""

    key: str
    name: str
    scores: list[Score]
    per_class: list[ClassScore] = field(default_factory=list)
    confusion: Confusion | None = None
    performance: dict[str, Any] | None = None
    kind: str = "base"

    def score(self, metric: str) -> Score | None:
        """The score named ``metric``, or None."""
        return next((score for score in self.scores if score.metric == metric), None)


@dataclass(frozen=True)
class BaselineReport:
    """Scores of something much cheaper than a language model."""

    key: str
    name: str
    scores: list[Score]

    def score(self, metric: str) -> Score | None:
        """The score named ``metric``, or None."""
        return next((score for score in self.scores if score.metric == metric), None)


@dataclass(frozen=True)
class Comparison:
    """Two answerers on the same cases. ``difference`` is tuned minus base, in the metric's own unit.

    ``better`` and ``worse`` count the cases where only one of the two was right (None where the metric is
    not right-or-wrong). ``p_value`` is uncorrected; ``p_holm`` corrects for all metrics compared; ``p_mid`` is McNemar's
    mid-p value, None under 60 differing pairs. ``is_grouped``: cases depend on each other and were drawn by groups.
    """

    metric: str
    base: float
    tuned: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    n: int
    better: int | None = None
    worse: int | None = None
    p_holm: float | None = None
    against: str = "base"
    p_mid: float | None = None
    is_grouped: bool = False


@dataclass(frozen=True)
class Verdict:
    """The plain answer. ``cases_needed`` is how many test cases in all would settle it (more_cases only)."""

    kind: VerdictKind
    sentence: str
    cases_needed: int | None = None


@dataclass(frozen=True)
class Case:
    """One test case with the answers of both models."""

    row: int
    prompt: str
    reference: str
    base_answer: str | None
    tuned_answer: str | None
    base_score: float | None = None
    tuned_score: float | None = None
    tuned_nll: float | None = None


@dataclass(frozen=True)
class EvaluationReport:
    """Everything an evaluation found.

    ``subject`` and ``against`` are the keys of the model that the verdict is about and of the one it is compared with. What
    a suite found stands under its name, None when it was not run; ``suites_left_out`` says why one that was asked for is
    missing. The shape of each part is described where it is made.
    """

    task_type: str
    split: str
    n: int
    models: list[ModelReport]
    baselines: list[BaselineReport]
    headline: str
    comparison: Comparison | None
    comparisons: list[Comparison]
    verdict: Verdict
    improved: list[Case]
    worsened: list[Case]
    worst: list[Case]
    run: dict[str, Any]
    subject: str = ""
    against: str | None = None
    suites_run: list[str] = field(default_factory=list)
    suites_left_out: list[dict[str, str]] = field(default_factory=list)
    findings: list[dict[str, str]] = field(default_factory=list)
    quality: dict[str, Any] | None = None
    performance: Any = None
    robustness: Any = None
    fairness: Any = None
    cost: Any = None
    capabilities: Any = None
    judge: Any = None
    overall_score: dict[str, Any] | None = None
    acceptance: list[dict[str, Any]] = field(default_factory=list)
    regressions: dict[str, Any] | None = None
    slices: list[dict[str, Any]] = field(default_factory=list)
    clusters: list[dict[str, Any]] = field(default_factory=list)
    power: dict[str, Any] | None = None
    prompting: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values only; a number that is not finite becomes null, half a character a question mark."""
        out: dict[str, Any] = _plain(asdict(self))
        return out

    def write(self, path: Path) -> None:
        """Write the JSON so that a reader never sees half a file."""
        draft = path.with_suffix(path.suffix + ".part")
        draft.write_text(json.dumps(self.as_dict(), ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
        os.replace(draft, path)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
