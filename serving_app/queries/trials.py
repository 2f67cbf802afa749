"""How a model on trial does beside the one in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from finetune_engine.evaluate.statistics.intervals import wilson
from serving_app.choices import DeploymentRole, DeploymentState, Verdict
from serving_app.models import Deployment, Prediction

MOST_ROWS = 2_000
"""The newest predictions of each model that are compared."""
SHOWN_PAIRS = 20
FEWEST_PAIRS = 30
"""With fewer, an interval is too wide to decide by."""


@dataclass(frozen=True)
class Share:
    """``count`` of ``n``, with Wilson's interval of 95 %; ``value`` None without any."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        """0..1."""
        return self.count / self.n if self.n else None

    @property
    def low(self) -> float:
        """The interval's lower end."""
        return wilson(self.count, self.n).low

    @property
    def high(self) -> float:
        """The interval's upper end."""
        return wilson(self.count, self.n).high

    def as_dict(self) -> dict[str, Any]:
        """As other scores of the API."""
        known = self.n > 0
        return {
            "value": self.value,
            "ci_low": self.low if known else None,
            "ci_high": self.high if known else None,
            "count": self.count,
            "n": self.n,
        }


@dataclass(frozen=True)
class Side:
    """One of the two models: ``p50`` and ``p95`` are seconds per answer that was written anew, ``confidence`` the mean of 0..1;
    None without any."""

    name: str
    model_name: str
    requests: int
    errors: Share
    p50: float | None
    p95: float | None
    confidence: float | None
    good: Share

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        return asdict(self) | {"errors": self.errors.as_dict(), "good": self.good.as_dict()}


@dataclass(frozen=True)
class Pair:
    """The same question, answered by both. ``is_equal`` None: the texts are not kept."""

    question: str
    main: Prediction
    trial: Prediction
    is_equal: bool | None


@dataclass(frozen=True)
class Comparison:
    """Both sides since the trial began. ``equal`` and ``pairs`` (those that differ first) exist where the trial listens along:
    only there have both answered the same questions."""

    trial: Deployment
    since: datetime
    main: Side
    tried: Side
    equal: Share
    pairs: list[Pair]

    @property
    def is_shadow(self) -> bool:
        """Whether there are pairs."""
        return self.trial.role == DeploymentRole.SHADOW

    @property
    def is_thin(self) -> bool:
        """Whether too little was asked yet to decide."""
        return min(self.main.requests, self.tried.requests) < FEWEST_PAIRS

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        return {
            "trial": self.trial.pk,
            "role": self.trial.role,
            "share_percent": self.trial.share_percent,
            "status": self.trial.state,
            "since": self.since,
            "main": self.main.as_dict(),
            "tried": self.tried.as_dict(),
            "equal_answers": self.equal.as_dict() if self.is_shadow else None,
            "pairs": [
                {
                    "question": pair.question,
                    "main": {"request_id": pair.main.request_id, "output": pair.main.output},
                    "tried": {"request_id": pair.trial.request_id, "output": pair.trial.output},
                    "is_equal": pair.is_equal,
                }
                for pair in self.pairs
            ],
        }


def comparison_of(trial: Deployment) -> Comparison:
    """The trial beside what was in use meanwhile, over their newest predictions."""
    since = trial.activated_at or trial.created_at
    tried = _rows(Q(deployment=trial), trial, since)
    if trial.role == DeploymentRole.SHADOW:
        by_id = {row.request_id: row for row in _rows(Q(request_id__in=[row.shadow_of for row in tried]), trial, since)}
        matched = [(by_id[row.shadow_of], row) for row in tried if row.shadow_of in by_id]
        main_rows = [main for main, _ in matched]
    else:
        matched = []
        main_rows = _rows(_main_deployments(trial, since), trial, since)
    pairs = sorted((_pair(main, other) for main, other in matched), key=lambda pair: pair.is_equal is not False)
    told = [pair.is_equal for pair in pairs if pair.is_equal is not None]
    return Comparison(
        trial=trial,
        since=since,
        main=_side(_main_label(main_rows), main_rows),
        tried=_side(trial.trained_model.name if trial.trained_model else trial.model_name, tried, trial.model_name),
        equal=Share(sum(told), len(told)),
        pairs=pairs[:SHOWN_PAIRS],
    )


def trials_of(project: Any) -> list[Deployment]:
    """The project's trials, newest first."""
    rows = Deployment.objects.filter(project=project).exclude(role=DeploymentRole.MAIN)
    return list(rows.select_related("trained_model", "project").order_by("-id")[:20])


def _main_deployments(trial: Deployment, since: datetime) -> Q:
    """Everything that was the main model of the alias while the trial ran."""
    mains = Deployment.objects.filter(project=trial.project_id, alias=trial.alias, role=DeploymentRole.MAIN)
    mains = mains.filter(Q(retired_at=None) | Q(retired_at__gte=since)).exclude(state=DeploymentState.FAILED)
    return Q(deployment__in=list(mains.values_list("pk", flat=True)), shadow_of="")


def _rows(which: Q, trial: Deployment, since: datetime) -> list[Prediction]:
    rows = Prediction.objects.filter(which, project=trial.project_id)
    if trial.role != DeploymentRole.SHADOW:
        rows = rows.filter(at__gte=since)
        if trial.retired_at is not None:
            rows = rows.filter(at__lte=trial.retired_at)
    return list(rows.defer("params").order_by("-id")[:MOST_ROWS])


def _side(name: str, rows: Sequence[Prediction], model_name: str = "") -> Side:
    answered = [row for row in rows if row.status == 200]
    seconds = sorted(row.latency_seconds for row in answered if not row.cached)
    confidences = [row.confidence for row in answered if row.confidence is not None]
    judged = [row for row in rows if row.verdict]
    return Side(
        name=name,
        model_name=model_name or (rows[0].model_name if rows else ""),
        requests=len(rows),
        errors=Share(sum(row.status >= 500 for row in rows), len(rows)),
        p50=_quantile(seconds, 0.5),
        p95=_quantile(seconds, 0.95),
        confidence=sum(confidences) / len(confidences) if confidences else None,
        good=Share(sum(row.verdict == Verdict.GOOD for row in judged), len(judged)),
    )


def _main_label(rows: Sequence[Prediction]) -> str:
    return rows[0].model_label if rows else ""


def _pair(main: Prediction, trial: Prediction) -> Pair:
    both = main.status == trial.status == 200 and (main.output or trial.output)
    is_equal = " ".join(main.output.split()) == " ".join(trial.output.split()) if both else None
    return Pair(main.question, main, trial, is_equal)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that is at least as large as ``share`` of all; None without any."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]
