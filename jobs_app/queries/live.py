"""What the page of one training, and of one trained model, says."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from jobs_app.models import TrainedModel, TrainingJob
from jobs_app.readings import reading
from jobs_app.training_settings import SETTINGS
from web_kit.live_job import LiveJob, LogLine, Sample
from work_kit.choices import State
from work_kit.models import JobEvent
from work_kit.queries import job_card, log_lines, metric_points, place_in_line

SHOWN_SAMPLES = 30
_MEASURED_JOBS = 20  # of the project, to say how long a training usually takes
LEVELS = {"warn": "warning", "error": "error", "warning": "warning"}


@dataclass(frozen=True)
class SettingTold:
    """A setting that was chosen, in words; ``glossary`` may be empty."""

    label: str | Promise
    name: str
    value: str
    glossary: str


@dataclass(frozen=True)
class Fact:
    """A line of a run record."""

    label: str
    value: Any


def live_job(training: TrainingJob, *, events_url: str) -> LiveJob:
    """The training at this moment; the stream carries on from ``last_event_id``."""
    work = training.work
    newest = JobEvent.objects.filter(job_id=work.pk).order_by("-id").values_list("pk", flat=True).first()
    card = job_card(work)
    points = metric_points(work.pk)
    return LiveJob(
        events_url=events_url,
        state=card.state,
        state_label=card.label,
        phase_label=card.phase_label if card.state not in {State.PAUSED, State.FAILED, State.CANCELLED} else card.label,
        done=card.done,
        total=card.total,
        unit=card.unit,
        eta_seconds=card.eta_seconds,
        reading=reading(points, is_over=card.is_terminal),
        metrics=points,
        samples=_samples(work.pk),
        log=[_line(event) for event in log_lines(work.pk)],
        last_event_id=newest,
        is_finished=card.is_terminal or card.state == State.PAUSED,
        has_chart=bool(points) or not card.is_terminal,
    )


def _samples(job_id: str) -> list[Sample]:
    """The newest answers to the sample questions, newest check first."""
    rows = JobEvent.objects.filter(job_id=job_id, kind="sample").order_by("-id")[:SHOWN_SAMPLES]
    found = [
        Sample(
            step=int(data.get("step") or 0),
            prompt=str(data.get("prompt") or ""),
            answer=str(data.get("answer") or ""),
            reference=str(data.get("reference") or ""),
        )
        for data in rows.values_list("data", flat=True)
    ]
    found.reverse()  # within a check in the order in which they were asked
    return sorted(found, key=lambda sample: -sample.step)


@dataclass(frozen=True)
class Waiting:
    """A training in the queue. ``starts_in_seconds`` and ``takes_seconds`` are estimates, None while unknown."""

    position: int
    has_worker: bool
    starts_in_seconds: float | None
    takes_seconds: float | None

    @property
    def ends_in_seconds(self) -> float | None:
        """When it may be done, from now; None unless both parts are known."""
        if self.starts_in_seconds is None or self.takes_seconds is None:
            return None
        return self.starts_in_seconds + self.takes_seconds


def waiting(training: TrainingJob) -> Waiting | None:
    """How long a waiting training still waits, and when it may be done; None when it is not waiting."""
    place = place_in_line(training.work)
    if place is None:
        return None
    return Waiting(
        position=place.position,
        has_worker=bool(place.workers),
        starts_in_seconds=place.wait_seconds,
        takes_seconds=_told_seconds(training) or _usual_seconds(training),
    )


def _told_seconds(training: TrainingJob) -> float | None:
    """What the estimate before the start said."""
    told = training.estimate.get("seconds")
    expected = told.get("expected") if isinstance(told, dict) else told
    return float(expected) if isinstance(expected, int | float) else None


def _usual_seconds(training: TrainingJob) -> float | None:
    """The median length of the project's earlier trainings from the same base model; None without any."""
    earlier = TrainingJob.objects.filter(
        project_id=training.project_id,
        base_model_key=training.base_model_key,
        work__state=State.SUCCEEDED,
        work__started_at__isnull=False,
    ).order_by("-id")
    moments = earlier.values_list("work__started_at", "work__finished_at")[:_MEASURED_JOBS]
    lengths = [(finished - started).total_seconds() for started, finished in moments if started and finished]
    return statistics.median(lengths) if lengths else None


def metrics_table(training: TrainingJob) -> str:
    """The metrics as CSV: ``step`` first, then every number that any step told; empty where a step did not."""
    points = metric_points(training.pk)
    columns = list(dict.fromkeys(["step", *(key for point in points for key in point)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(points)
    return out.getvalue()


def _line(event: JobEvent) -> LogLine:
    data = event.data
    message = str(data.get("message") or data.get("label") or data.get("code") or event.kind)
    if event.kind == "state" and data.get("message"):
        message = f"{data.get('label')}: {data['message']}"
    level = {"warn": "warning", "error": "error"}.get(event.kind) or LEVELS.get(str(data.get("level")), "info")
    return LogLine(message=message, at=event.at, level=level)


def settings_told(training: TrainingJob) -> list[SettingTold]:
    """The settings this training was given; everything else was automatic."""
    return [
        SettingTold(SETTINGS[name].label, name, _words(value), SETTINGS[name].glossary)
        for name, value in training.spec.items()
        if name in SETTINGS
    ]


def run_told(model: TrainedModel) -> list[Fact]:
    """The run record as lines: nested parts are joined with a dot, long lists and texts are left to the file."""
    facts: list[Fact] = []

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list):
            facts.append(Fact(prefix, ", ".join(map(str, value)) if len(value) <= 12 else _n_items(value)))
        elif not (isinstance(value, str) and len(value) > 200):
            facts.append(Fact(prefix, _words(value)))

    add("", model.run)
    return facts


def model_series(model: TrainedModel) -> list[tuple[str, list[tuple[Any, Any]]]]:
    """Training and validation loss by step, for a chart."""
    points = metric_points(model.training_job.work_id)
    return [
        (_("Training"), [(p["step"], p.get("train_loss")) for p in points]),
        (_("Validation"), [(p["step"], p["valid_loss"]) for p in points if p.get("valid_loss") is not None]),
    ]


def _n_items(value: list[Any]) -> str:
    return _("%(n)s entries") % {"n": len(value)}


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
