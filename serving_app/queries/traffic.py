"""What was asked, and how it went."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from accounts_app.models import Project
from serving_app.queries.watch import recent_figures, verdict_counts
from work_kit.choices import State
from work_kit.models import Job

DAY_MINUTES = 1_440


@dataclass(frozen=True)
class Traffic:
    """The last 24 hours of a project. ``latency`` is the mean in seconds, ``confidence`` the mean of 0..1."""

    requests: int
    errors: int
    cached: int
    latency: float | None
    confidence: float | None
    good: int
    bad: int


def traffic_of(project: Project) -> Traffic:
    """Counts of the last 24 hours, from the five-minute counts."""
    figures = recent_figures(project, DAY_MINUTES)
    good, bad = verdict_counts(project, DAY_MINUTES)
    return Traffic(
        requests=figures.requests,
        errors=figures.requests - figures.answered,
        cached=figures.exact_hits + figures.semantic_hits,
        latency=figures.latency_sum / sum(figures.latency) if sum(figures.latency) else None,
        confidence=figures.mean_confidence,
        good=good,
        bad=bad,
    )


def job_counts() -> dict[str, int]:
    """How many jobs of the house are in each state."""
    counts = dict.fromkeys(State.values, 0)
    for state, count in Job.objects.values_list("state").annotate(count=Count("id")):
        counts[state] = count
    return counts
