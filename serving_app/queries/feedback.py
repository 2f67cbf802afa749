"""Answers that people can judge, what they said of them, and where a correction belongs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts_app.models import Project
from accounts_app.permissions import Actor
from datasets_app.choices import TaskType
from datasets_app.models import Dataset, Source
from datasets_app.row_messages import row_key
from finetune_engine.errors import UserError
from serving_app.models import Feedback, Prediction
from web_kit.ids import made_at

ORIGIN_KIND = "feedback"
LOG_SECONDS = 10.0
"""How long the log may take to write an answer down: its batches leave within a second, a busy disk takes its time."""
_LOOK_SECONDS = 0.05


def answer_of(actor: Actor, request_id: str) -> Prediction:
    """The logged answer with this request id. The log is written behind the answers' back, so for one that is just a
    moment old this waits until its entry is there. Raises UserError 404 when there is none."""
    end = time.monotonic() + (LOG_SECONDS if _is_young(request_id) else 0.0)
    while True:
        found = Prediction.objects.filter(project=actor.project, request_id=request_id).first()
        if found is not None:
            return found
        if time.monotonic() >= end:
            sentence = _("There is no answer with this request id in the log of this project.")
            raise UserError("no_such_answer", sentence, status=404)
        time.sleep(_LOOK_SECONDS)


def feedback_of(project: Project) -> QuerySet[Feedback]:
    """What people said of this project's answers, newest answer first."""
    return (
        Feedback.objects.filter(project=project)
        .select_related("by_user", "by_key", "dataset", "regression_case", "deployment__trained_model__training_job")
        .order_by("-id")
    )


def with_models(feedback: Sequence[Feedback]) -> list[Feedback]:
    """The same as they stand now, newest first, with the model that answered and its data at hand; nobody else changes them
    before the transaction ends, outside of which this may not be called. One query."""
    rows = Feedback.objects.select_for_update(of=("self",)).filter(pk__in=[one.pk for one in feedback]).order_by("-id")
    data = "deployment__trained_model__training_job"
    return list(rows.select_related("by_user", "by_key", "dataset", f"{data}__dataset", f"{data}__snapshot__dataset"))


def said_by(feedback: Feedback) -> str:
    """The person's name, or the key's; empty when neither is there any more."""
    if feedback.by_user is not None:
        return str(feedback.by_user)
    return feedback.by_key.name if feedback.by_key is not None else ""


def training_dataset(feedback: Feedback) -> Dataset | None:
    """The dataset that the answering model was trained on, while it is there; None for a base model."""
    model = feedback.deployment.trained_model if feedback.deployment is not None else None
    if model is None:
        return None
    job = model.training_job
    found = job.snapshot.dataset if job.snapshot is not None else job.dataset
    return found if found is not None and found.deleted_at is None else None


def proposed_messages(feedback: Feedback) -> list[dict[str, Any]]:
    """The conversation as the model saw it, the correction as its answer."""
    return [*feedback.messages, {"role": "assistant", "content": feedback.correction}]


def proposed_key(feedback: Feedback, dataset: Dataset) -> str:
    """Under which the data knows the row of this correction."""
    return row_key(proposed_messages(feedback), feedback.answer if dataset.task_type == TaskType.PREFERENCE else "")


def source_of(feedback: Feedback, among: Iterable[Source] | None = None) -> Source | None:
    """The file of proposals that holds the row of this correction: the one named in ``source_number``, or the first
    ``among`` these. None when none does."""
    if feedback.dataset is None:
        return None
    key = proposed_key(feedback, feedback.dataset)
    if among is None:
        among = feedback.dataset.sources.filter(number=feedback.source_number or 0)
    return next((source for source in among if key in (source.origin.get("keys") or ())), None)


def is_in_data(feedback: Feedback) -> bool:
    """Whether the row of this correction is part of its data, or is just being added. One query at most."""
    if feedback.proposed_at is None or feedback.dataset is None or feedback.dataset.deleted_at is not None:
        return False
    source = source_of(feedback)
    return source is not None and is_part(source)


def is_part(source: Source) -> bool:
    """Whether a file of proposals is part of its data, or is just being added (it has no rows then)."""
    return source.removed_at is None or not source.rows


def is_kept_as_case(feedback: Feedback) -> bool:
    """Whether later models are asked it."""
    return feedback.regression_case is not None and feedback.regression_case.removed_at is None


def _is_young(request_id: str) -> bool:
    made = made_at(request_id)
    return made is not None and 0 <= time.time() - made < 2 * LOG_SECONDS
