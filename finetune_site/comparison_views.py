"""Several trainings side by side, with what their evaluations found: composed here because it looks into both apps."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import Router

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app.exports.cells import guarded
from evaluation_app.queries.lists import EvaluationCard, latest_verdicts
from jobs_app.queries.compare import Comparison, Run, comparison
from web_kit.sse import finite

router = Router(tags=["training"])
FACTS = ("id", "name", "state", "base_model", "data", "best_step", "valid_loss", "train_loss", "seconds")
MONEY = ("cost", "currency", "verdict")


@project_page({"GET": Act.VIEW})
def compare(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The trainings named by ``?job=``, two to six of them; ``?format=csv`` gives the table as a file."""
    found = comparison(actor.project, request.GET.getlist("job"))
    verdicts = verdicts_of(found)
    if request.GET.get("format") == "csv":
        response = HttpResponse(comparison_csv(found, verdicts), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="trainings.csv"'
        return response
    context = {
        "project": actor.project,
        "comparison": found,
        "columns": [(run, verdicts.get(run.training.pk)) for run in found.runs],
        "may_train": actor.may(Act.TRAIN),
        "query": request.GET.urlencode(),
    }
    return render(request, "jobs_app/compare.html", context)


@router.get("/comparison", auth=key_auth(Act.VIEW), summary="Two to six trainings side by side")
def get_comparison(request: HttpRequest, job: str) -> dict[str, Any]:
    """``job`` holds their ids, separated by commas. ``settings`` lists only those that differ."""
    actor: Actor = request.auth  # type: ignore[attr-defined]
    found = comparison(actor.project, job.split(","))
    verdicts = verdicts_of(found)
    return {
        "data": [
            _facts(run, verdicts.get(run.training.pk)) | {"points": [finite(point) for point in run.points]}
            for run in found.runs
        ],
        "settings": {difference.name: difference.values for difference in found.differences},
        "next_cursor": None,
    }


def verdicts_of(found: Comparison) -> dict[str, EvaluationCard]:
    """By training: the newest finished evaluation of the model that it made."""
    models = {run.model.pk: run.training.pk for run in found.runs if run.model is not None}
    return {models[card.model_id]: card for card in latest_verdicts(list(models))}


def comparison_csv(found: Comparison, verdicts: dict[str, EvaluationCard]) -> str:
    """One line per training: what it is, what came of it, and every setting in which the trainings differ."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FACTS, *MONEY, *(difference.name for difference in found.differences)])
    for at, run in enumerate(found.runs):
        facts = _facts(run, verdicts.get(run.training.pk))
        line = [facts[name] for name in (*FACTS, *MONEY)] + [row.values[at] for row in found.differences]
        writer.writerow([guarded(value) if isinstance(value, str) else value for value in line])
    return out.getvalue()


def _facts(run: Run, verdict: EvaluationCard | None) -> dict[str, Any]:
    training = run.training
    return {
        "id": training.pk,
        "name": training.name,
        "state": run.job.state,
        "base_model": training.base_model_key,
        "data": run.data_name,
        "snapshot": training.snapshot_id,
        "best_step": run.best_step,
        "valid_loss": run.best_valid_loss,
        "train_loss": run.last_train_loss,
        "seconds": run.duration_seconds,
        "cost": str(training.cost_amount) if training.cost_amount is not None else None,
        "currency": training.cost_currency or None,
        "verdict": verdict.verdict if verdict is not None else None,
        "trained_model": run.model.pk if run.model is not None else None,
        "copied_from": training.cloned_from_id,
    }
