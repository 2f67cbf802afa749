"""What an owner looks at before signing."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from evaluation_app.choices import VERDICT_TONES, ReviewState, VerdictKind
from evaluation_app.models import Evaluation, Review
from evaluation_app.queries.report.blocks import Tone
from evaluation_app.queries.report.origin import unmeasured
from evaluation_app.queries.sign_offs import failed_demands


@dataclass(frozen=True)
class Check:
    """One line: what, how it stands in a word with its tone, and a sentence."""

    name: str
    word: str
    tone: Tone
    sentence: str


@dataclass(frozen=True)
class Checklist:
    """``needs_reason``: something speaks against the model, so a signature needs a written reason."""

    checks: list[Check]
    needs_reason: bool


def checklist(evaluation: Evaluation | None) -> Checklist:
    """How the model stands. One query for the reviews."""
    if evaluation is None or not evaluation.report:
        sentence = _("Nobody has measured how good this model is. Evaluate it first, or write down why it may be used.")
        return Checklist([Check(_("Evaluation"), _("none"), "bad", sentence)], True)
    failed = failed_demands(evaluation.report)
    is_good = evaluation.verdict == VerdictKind.SHIP
    verdict = str(VerdictKind(evaluation.verdict).label) if evaluation.verdict else _("none")
    tone: Tone = VERDICT_TONES.get(evaluation.verdict, "idle")  # type: ignore[assignment]
    checks = [Check(_("Verdict"), verdict, tone, evaluation.verdict_sentence), _demands(evaluation, failed)]
    checks += [_reviews(evaluation), *_left_out(evaluation)]
    return Checklist(checks, bool(failed) or not is_good)


def _demands(evaluation: Evaluation, failed: list[str]) -> Check:
    name = _("What was demanded")
    if failed:
        return Check(name, _("broken"), "bad", ", ".join(failed))
    if not evaluation.report.get("acceptance") and not evaluation.report.get("regressions"):
        return Check(
            name, _("nothing"), "idle", _("No acceptance rule and no case that must not be forgotten was checked.")
        )
    return Check(name, _("all kept"), "ok", _("Every acceptance rule and every case that must not be forgotten."))


def _reviews(evaluation: Evaluation) -> Check:
    states = list(Review.objects.filter(evaluation=evaluation).values_list("state", flat=True))
    still_open = sum(state == ReviewState.OPEN for state in states)
    if still_open:
        words = ngettext("%(n)s review is still open.", "%(n)s reviews are still open.", still_open)
        return Check(_("People"), _("not done"), "warn", words % {"n": still_open})
    if not states:
        return Check(_("People"), _("nobody looked"), "warn", _("No person has judged a blind sample of the answers."))
    return Check(_("People"), _("reviewed"), "ok", _("The reviews of these answers are closed."))


def _left_out(evaluation: Evaluation) -> list[Check]:
    out = unmeasured(evaluation.report)
    return [Check(_("Not measured"), _("left out"), "idle", ", ".join(suite for suite, _reason in out))] if out else []
