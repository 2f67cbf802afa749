"""Who stands for which model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts_app.models import Project
from evaluation_app.choices import VERDICT_TONES, VerdictKind
from evaluation_app.models import Evaluation, SignOff
from jobs_app.models import TrainedModel


@dataclass(frozen=True)
class SignOffCard:
    """A signature as pages show it. ``is_current`` False: the report has changed since it was read. ``verdict_label``
    and ``tone`` are what the evaluation said at that time (empty and ``idle`` without one)."""

    id: int
    signed_by: str
    signed_at: datetime
    statement: str
    verdict_label: str
    tone: str
    report_sha256: str
    evaluation_id: str | None
    is_valid: bool
    is_current: bool
    withdrawn_by: str
    withdrawn_at: datetime | None

    @property
    def rests_on_this(self) -> bool:
        """Whether it was given on the very report at hand."""
        return self.is_current and bool(self.report_sha256)

    @property
    def rests_on(self) -> str:
        """What else it rests on, in words; empty for the report at hand."""
        if self.rests_on_this:
            return ""
        return _("on another report") if self.report_sha256 else _("without a report")


def report_sha256(evaluation: Evaluation) -> str:
    """The fingerprint of a report: SHA-256 of its canonical JSON (sorted names, no spaces, UTF-8)."""
    return digest_of(evaluation.report)


def digest_of(report: Mapping[str, Any]) -> str:
    """As ``report_sha256``, of a report in hand."""
    text = json.dumps(report, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def failed_demands(report: Mapping[str, Any]) -> list[str]:
    """The acceptance rules that some answer broke, and the must-not-forget cases as one line if any failed."""
    failed = [
        str(rule.get("name") or rule.get("id"))
        for rule in report.get("acceptance") or ()
        if (rule.get("passed") or 0) < (rule.get("n") or 0)
    ]
    broken = len((report.get("regressions") or {}).get("failed") or ())
    if broken:
        words = ngettext("%(n)s case that must not be forgotten", "%(n)s cases that must not be forgotten", broken)
        failed.append(words % {"n": broken})
    return failed


def is_signed_off(trained_model: TrainedModel) -> bool:
    """Whether an owner stands for this model at this moment."""
    return SignOff.objects.filter(trained_model=trained_model, withdrawn_at=None).exists()


def signed_off_ids(model_ids: Collection[str]) -> set[str]:
    """Those of the models that an owner stands for. One query."""
    rows = SignOff.objects.filter(trained_model__in=model_ids, withdrawn_at=None)
    return set(rows.values_list("trained_model_id", flat=True))


def sign_offs_of(project: Project) -> QuerySet[SignOff]:
    """All signatures of a project, newest first, withdrawn ones included."""
    rows = SignOff.objects.filter(project=project)
    return rows.select_related("trained_model", "signed_by", "signed_by_key", "withdrawn_by").order_by("-id")


def sign_offs_of_model(trained_model: TrainedModel, current_sha256: str = "") -> list[SignOffCard]:
    """All signatures under a model, newest first. ``current_sha256`` is the fingerprint of the report at hand: those
    under another state of the same evaluation are marked."""
    rows = SignOff.objects.filter(trained_model=trained_model)
    rows = rows.select_related("signed_by", "signed_by_key", "withdrawn_by").order_by("-id")
    return [sign_off_card(row, current_sha256) for row in rows]


def sign_off_card(row: SignOff, current_sha256: str = "") -> SignOffCard:
    """One signature in words."""
    return SignOffCard(
        id=row.pk,
        signed_by=str(row.signed_by or row.signed_by_key or _("someone who has left")),
        signed_at=row.signed_at,
        statement=row.statement,
        verdict_label=str(VerdictKind(row.verdict).label) if row.verdict in VerdictKind.values else "",
        tone=VERDICT_TONES.get(row.verdict, "idle"),
        report_sha256=row.report_sha256,
        evaluation_id=row.evaluation_id,
        is_valid=row.withdrawn_at is None,
        is_current=not current_sha256 or row.report_sha256 in ("", current_sha256),
        withdrawn_by=str(row.withdrawn_by or "") if row.withdrawn_at else "",
        withdrawn_at=row.withdrawn_at,
    )
