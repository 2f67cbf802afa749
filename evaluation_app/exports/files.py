"""The files of a report as answers to a request."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.http import HttpResponse

from evaluation_app.exports.csv_report import report_csv
from evaluation_app.exports.html_report import report_html
from evaluation_app.exports.json_report import report_json
from evaluation_app.exports.model_card import model_card
from evaluation_app.models import Evaluation
from evaluation_app.queries.report.whole import WholeReport, whole_report
from finetune_engine.errors import UserError


def _json(whole: WholeReport) -> bytes:
    return json.dumps(report_json(whole), ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")


def _html(whole: WholeReport) -> bytes:
    return report_html(whole).encode("utf-8", "replace")


def _pdf(whole: WholeReport) -> bytes:
    from evaluation_app.exports.pdf.report import report_pdf

    return report_pdf(whole)


def _card(whole: WholeReport) -> bytes:
    return model_card(whole).encode("utf-8", "replace")


KINDS: dict[str, tuple[str, str, Callable[[WholeReport], bytes]]] = {
    "json": ("application/json", "evaluation-{}.json", _json),
    "csv": ("text/csv; charset=utf-8", "evaluation-{}.csv", report_csv),
    "html": ("text/html; charset=utf-8", "evaluation-{}.html", _html),
    "pdf": ("application/pdf", "evaluation-{}.pdf", _pdf),
    "md": ("text/markdown; charset=utf-8", "model-card-{}.md", _card),
}


def report_file(evaluation: Evaluation, kind: str) -> HttpResponse:
    """The report as a download. ``evaluation`` as ``whole_report`` wants it. Raises UserError 409 before it is done."""
    if not evaluation.report:
        raise UserError("no_report", "This evaluation has no report yet. Wait until it is done.", status=409)
    content_type, name, make = KINDS[kind]
    response = HttpResponse(make(whole_report(evaluation)), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name.format(evaluation.pk)}"'
    return response
