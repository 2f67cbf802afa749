"""The report as JSON: what the engine wrote, and beside it what people have added."""

from __future__ import annotations

from typing import Any

from evaluation_app.queries.report.whole import WholeReport
from evaluation_app.queries.report.worth import kpis_json
from evaluation_app.queries.sign_offs import SignOffCard


def report_json(whole: WholeReport) -> dict[str, Any]:
    """The engine's keys as they are, and ``kpis``, ``human``, ``sign_off`` (the newest valid one, on this report if there
    is one; or None), ``sign_offs``, ``lineage``, ``evaluation`` and ``report_sha256`` (of the engine's part alone)."""
    evaluation = whole.evaluation
    signature = whole.signature
    added = {
        "evaluation": {
            "id": evaluation.pk,
            "model": evaluation.trained_model.api_name,
            "finished_at": whole.finished_at.isoformat(),
            "repeated_from": evaluation.repeated_from_id,
        },
        "kpis": kpis_json(whole.kpis, whole.assumptions),
        "human": whole.human,
        "sign_off": sign_off_json(signature) if signature else None,
        "sign_offs": [sign_off_json(one) for one in whole.signatures],
        "lineage": whole.lineage,
        "report_sha256": whole.sha256,
    }
    return dict(evaluation.report) | added


def sign_off_json(card: SignOffCard) -> dict[str, Any]:
    """One signature."""
    return {
        "id": card.id,
        "by": card.signed_by,
        "at": card.signed_at.isoformat(),
        "statement": card.statement,
        "verdict": card.verdict_label or None,
        "evaluation": card.evaluation_id,
        "report_sha256": card.report_sha256 or None,
        "is_valid": card.is_valid,
        "is_current": card.is_current,
        "withdrawn_at": card.withdrawn_at.isoformat() if card.withdrawn_at else None,
    }
