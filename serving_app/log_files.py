"""The prediction log as files, made while they are sent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts_app.permissions import Actor
from datasets_app.exports.cells import guarded
from datasets_app.streaming import attachment
from finetune_engine.errors import UserError
from serving_app.models import Prediction
from serving_app.operations.log_policy import record_log_export
from serving_app.queries.predictions import LogFilters, in_batches, predictions_matching

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
COLUMNS = (
    "id", "at", "model", "deployment", "door", "task", "status", "error", "question", "output", "confidence",
    "calibrated", "needs_human", "cached", "latency", "first_token_seconds", "prompt_tokens", "completion_tokens",
    "verdict", "correction", "is_masked", "key",
)  # fmt: skip


def log_download(request: HttpRequest, actor: Actor, form: str, filters: LogFilters) -> HttpResponseBase:
    """The download, once its audit entry stands. Raises UserError for another form or a filter that cannot be read."""
    if form not in CONTENT_TYPES:
        raise UserError("unknown_form", _("The log can be had as csv or jsonl."), field="form")
    rows = predictions_matching(actor.project, filters)
    record_log_export(actor=actor, form=form, filters=filters.given())
    name = f"{actor.project.slug}-log-{timezone.localdate():%Y-%m-%d}.{form}"
    return attachment(request, log_lines(rows, form), name=name, content_type=CONTENT_TYPES[form])


def prediction_body(prediction: Prediction) -> dict[str, Any]:
    """One entry of the log as JSON has it."""
    names = (
        "door", "task", "input", "output", "params", "status", "error", "confidence", "calibrated", "needs_human",
        "handled_at", "cached", "cache_kind", "first_token_seconds", "prompt_tokens", "completion_tokens", "verdict",
        "correction", "is_masked", "at",
    )  # fmt: skip
    return {
        "id": prediction.request_id,
        "model": prediction.model_name,
        "model_digest": prediction.model_digest,
        "deployment": prediction.deployment_id,
        "key": prediction.api_key_id,
        "shadow_of": prediction.shadow_of or None,
        "question": prediction.question_text,
        "latency": prediction.latency_seconds,
        **{name: getattr(prediction, name) for name in names},
    }


def log_lines(rows: QuerySet[Prediction], form: str) -> Iterator[bytes]:
    """The rows as ``csv`` (cells that a spreadsheet would take for a formula get an apostrophe) or ``jsonl`` (as they are)."""
    if form == "csv":
        yield _csv([list(COLUMNS)])
    for batch in in_batches(rows):
        bodies = [prediction_body(row) for row in batch]
        yield _csv([_cells(body) for body in bodies]) if form == "csv" else b"".join(_json(body) for body in bodies)


def _cells(body: dict[str, Any]) -> list[Any]:
    cells = []
    for name in COLUMNS:
        value = body[name]
        value = value.isoformat() if name == "at" else value
        cells.append(guarded(value) if isinstance(value, str) else value)
    return cells


def _csv(lines: list[list[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue().encode("utf-8", "replace")


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, default=lambda moment: moment.isoformat()).encode() + b"\n"
