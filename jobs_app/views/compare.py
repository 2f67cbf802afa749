"""Several trainings side by side."""

from __future__ import annotations

import csv
import io

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import project_page
from datasets_app.exports.cells import safe_cell
from jobs_app.queries.compare import Comparison, comparison


@project_page({"GET": Act.VIEW})
def compare(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The trainings named by ``?job=``, two to six of them; ``?format=csv`` gives the table as a file."""
    found = comparison(actor.project, request.GET.getlist("job"))
    if request.GET.get("format") == "csv":
        response = HttpResponse(comparison_csv(found), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="trainings.csv"'
        return response
    return render(request, "jobs_app/compare.html", {"project": actor.project, "comparison": found})


def comparison_csv(found: Comparison) -> str:
    """One line per training: what it is, what came of it, and every setting in which the trainings differ."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [difference.name for difference in found.differences]
    writer.writerow(
        ["id", "name", "state", "base_model", "data", "best_step", "valid_loss", "train_loss", "seconds", "cost"]
        + ["currency", *names]
    )
    for at, run in enumerate(found.runs):
        training = run.training
        line = [training.pk, training.name, run.job.state, training.base_model_key, run.data_name, run.best_step]
        line += [run.best_valid_loss, run.last_train_loss, run.duration_seconds]
        line += [training.cost_amount, training.cost_currency]
        line += [difference.values[at] for difference in found.differences]
        writer.writerow([safe_cell(value) if isinstance(value, str) else value for value in line])
    return out.getvalue()
