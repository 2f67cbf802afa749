"""What a running evaluation does at this moment, in words: which model, and which kind of measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from evaluation_app.models import Evaluation
from evaluation_app.queries.contenders import contenders_of
from work_kit.models import JobEvent

OF_A_MODEL: dict[str, Any] = {
    "loading model": gettext_lazy("Loading %(model)s"),
    "evaluating": gettext_lazy("%(model)s answers the cases"),
    "measuring speed": gettext_lazy("Measuring how fast %(model)s answers"),
    "trying odd inputs": gettext_lazy("%(model)s answers mistyped, reworded and hostile questions"),
    "checking fairness": gettext_lazy("%(model)s answers with other names and words in the questions"),
    "counting costs": gettext_lazy("Counting what answers of %(model)s cost"),
    "looking for what was forgotten": gettext_lazy("Looking for what %(model)s has forgotten"),
}
OF_ALL: dict[str, Any] = {
    "validating": gettext_lazy("Reading the cases"),
    "comparing": gettext_lazy("Comparing the models"),
    "asking the judge": gettext_lazy("Another model judges the answers"),
    "saving": gettext_lazy("Writing the report"),
}


def phase_words(job_id: str, data: Mapping[str, Any]) -> str:
    """A phase event of the engine in words; empty when there are none for it. One or two queries where a model is named."""
    phase, key = str(data.get("phase", "")), data.get("model")
    words = OF_A_MODEL.get(phase)
    if key and words:
        return str(words) % {"model": _name_of(job_id, str(key))}
    return str(OF_ALL.get(phase, ""))


def phase_now(evaluation: Evaluation) -> str:
    """What the evaluation does now, as its newest phase event says; empty before there is one in this attempt."""
    rows = JobEvent.objects.filter(job=evaluation.pk, kind="phase", attempt=evaluation.work.attempt)
    event = rows.order_by("-id").first()
    return phase_words(evaluation.pk, event.data) if event is not None else ""


def _name_of(job_id: str, key: str) -> str:
    evaluation = Evaluation.objects.select_related("trained_model").defer("report").filter(pk=job_id).first()
    if evaluation is None:
        return key
    names = {contender.key: contender.name for contender in contenders_of(evaluation)}
    return names.get(key) or _("a model")
