"""Several trainings side by side: their curves, what was set differently, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts_app.models import Project
from finetune_engine.errors import UserError
from finetune_engine.train.spec import TrainingSpec
from jobs_app.models import TrainedModel, TrainingJob
from jobs_app.queries.base_models import base_model_names
from jobs_app.queries.trainings import data_name, trained_model_of, training_jobs
from jobs_app.readings import best_step
from jobs_app.training_settings import SETTINGS
from web_kit.live_job import MOST_POINTS
from web_kit.plots import thinned
from web_kit.sse import finite
from work_kit.queries import JobCard, job_card, metric_points

FEWEST, MOST = 2, 6
DEFAULTS = TrainingSpec().as_dict()
_CURVES = ("train_loss", "valid_loss")


@dataclass(frozen=True)
class Run:
    """One of the trainings. ``number`` counts from 1 and is what the drawings call it; losses are None before the first
    check, ``duration_seconds`` before the end. ``spec`` is complete, defaults included."""

    number: int
    training: TrainingJob
    job: JobCard
    model: TrainedModel | None
    base_model_name: str
    data_name: str
    spec: dict[str, Any]
    points: list[dict[str, Any]]
    best_step: int | None
    best_valid_loss: float | None
    last_train_loss: Any

    @property
    def duration_seconds(self) -> float | None:
        """From the first start to the end."""
        return self.job.duration_seconds


@dataclass(frozen=True)
class Difference:
    """A line of the table: a setting, and what each run has there, in the runs' order."""

    name: str
    label: str | Promise
    values: list[Any]


@dataclass(frozen=True)
class Comparison:
    """The runs, the settings in which they differ, and how many are the same."""

    runs: list[Run]
    differences: list[Difference]
    same_count: int

    def series(self, key: str) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """``train_loss`` or ``valid_loss`` of every run, for ``{% line_chart %}``."""
        return [
            (run.training.name, [(row["step"], row[key]) for row in run.points if row.get(key) is not None])
            for run in self.runs
        ]

    @property
    def train_series(self) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """The training losses."""
        return self.series("train_loss")

    @property
    def valid_series(self) -> list[tuple[str, list[tuple[Any, Any]]]]:
        """The validation losses."""
        return self.series("valid_loss")

    @property
    def curves(self) -> list[dict[str, Any]]:
        """For ``static/js/compare.js``: ``[{number, name, points: [{step, train_loss, valid_loss}]}]``."""
        return [{"number": run.number, "name": run.training.name, "points": _for_script(run)} for run in self.runs]

    @property
    def best(self) -> Run | None:
        """The run with the lowest validation loss, where all learned from the same rows; else None, because losses on
        other rows say nothing about each other."""
        checked = [run for run in self.runs if run.best_valid_loss is not None]
        if len(checked) < FEWEST or len({run.training.snapshot_id for run in self.runs}) > 1:
            return None
        return min(checked, key=lambda run: run.best_valid_loss or 0.0)


def comparison(project: Project, ids: Sequence[str]) -> Comparison:
    """These trainings of the project, in this order. Raises UserError unless there are two to six that exist."""
    wanted = list(dict.fromkeys(filter(None, ids)))
    if not FEWEST <= len(wanted) <= MOST:
        raise UserError("choose_runs", _("Choose two to six trainings to compare."), field="job")
    found = {training.pk: training for training in training_jobs(project).filter(pk__in=wanted)}
    missing = [pk for pk in wanted if pk not in found]
    if missing:
        raise UserError(
            "job_not_found",
            _("This project has no training %(id)s.") % {"id": missing[0]},
            field="job",
            status=404,
        )
    names = base_model_names()
    runs = [_run(number, found[pk], names) for number, pk in enumerate(wanted, start=1)]
    differing = [name for name in DEFAULTS if len({str(run.spec.get(name)) for run in runs}) > 1]
    differences = [
        Difference(name, SETTINGS[name].label if name in SETTINGS else name, [run.spec.get(name) for run in runs])
        for name in differing
    ]
    return Comparison(runs, differences, len(DEFAULTS) - len(differing))


def _run(number: int, training: TrainingJob, names: dict[str, str]) -> Run:
    points = metric_points(training.pk)
    losses = [float(row["valid_loss"]) for row in points if isinstance(row.get("valid_loss"), int | float)]
    return Run(
        number=number,
        training=training,
        job=job_card(training.work),
        model=trained_model_of(training),
        base_model_name=names.get(training.base_model_key, training.base_model_key),
        data_name=data_name(training),
        spec=DEFAULTS | training.spec,
        points=points,
        best_step=best_step(points),
        best_valid_loss=min(losses) if losses else None,
        last_train_loss=next((row["train_loss"] for row in reversed(points) if "train_loss" in row), None),
    )


def _for_script(run: Run) -> list[dict[str, Any]]:
    drawn = thinned(run.points, MOST_POINTS // 2, keep=lambda row: row.get("valid_loss") is not None)
    keys = ("step", *_CURVES)
    return [{key: finite(row[key]) for key in keys if row.get(key) is not None} for row in drawn]
