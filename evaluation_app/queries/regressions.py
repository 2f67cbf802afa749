"""The cases that no later model may get wrong: what became of each, and which version broke it first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts_app.models import Project
from evaluation_app.models import Evaluation, RegressionCase
from evaluation_app.queries.rules import cases_of
from evaluation_app.queries.sample_file import samples_frame
from work_kit.choices import State

MOST_REPORTS = 100  # looked through for who broke what, the newest of them


@dataclass(frozen=True)
class Outcome:
    """What one version did with one case. ``why`` is empty when it passed."""

    evaluation_id: str
    model_name: str
    at: datetime
    passed: bool
    answer: str = ""
    why: str = ""


@dataclass(frozen=True)
class CaseLine:
    """A case with its history. ``latest`` None: no evaluation has asked it yet. ``first_broken`` is the first version
    that failed, also when a later one passes again."""

    case: RegressionCase
    question: str
    origin_words: str
    origin_evaluation_id: str
    origin_row: int | None
    latest: Outcome | None
    first_broken: Outcome | None

    @property
    def tone(self) -> str:
        """The colour of its state."""
        return "idle" if self.latest is None else "ok" if self.latest.passed else "bad"

    @property
    def state_words(self) -> str:
        """Its state in a word or two."""
        if self.latest is None:
            return _("not asked yet")
        return _("kept") if self.latest.passed else _("forgotten")


@dataclass(frozen=True)
class _Ran:
    """One evaluation that asked regression cases, and those that its model failed. ``asked`` None: its report does not say
    which, so those are meant that were there when it began."""

    evaluation_id: str
    model_id: str
    model_name: str
    created_at: datetime
    failed: Mapping[str, Mapping[str, Any]]
    asked: frozenset[str] | None

    def has_asked(self, case: RegressionCase) -> bool:
        """Whether its model was asked this case."""
        if self.asked is not None:
            return case.pk in self.asked
        return case.created_at <= self.created_at or case.pk in self.failed


def case_lines(project: Project, cases: Sequence[RegressionCase]) -> list[CaseLine]:
    """These cases of the project with what became of them. One query, whatever their number."""
    ran = _runs(project)
    return [_line(case, ran) for case in cases]


def outcomes_by_model(project: Project, cases: Sequence[RegressionCase]) -> dict[str, dict[str, Outcome]]:
    """``{case id: {trained model id: what it did}}``, models in the order in which they were judged; where one was asked
    more than once, the newest counts. One query, whatever the number of cases."""
    ran = _runs(project)
    found: dict[str, dict[str, Outcome]] = {}
    for case in cases:
        mine = found[case.pk] = {}
        for run in ran:
            if run.has_asked(case):
                mine.pop(run.model_id, None)
                mine[run.model_id] = _outcome(case, run)
    return found


def removed_cases(project: Project) -> QuerySet[RegressionCase]:
    """The cases that no longer apply, the last removed first."""
    return RegressionCase.objects.filter(project=project, removed_at__isnull=False).order_by("-removed_at", "-id")


def kept_count(project: Project) -> tuple[int, int] | None:
    """How many cases the newest evaluation's model kept, of how many that still apply; None when none was asked."""
    ran = _runs(project)
    if not ran:
        return None
    asked = [case for case in cases_of(project) if ran[-1].has_asked(case)]
    return sum(1 for case in asked if case.pk not in ran[-1].failed), len(asked)


def sample_cases(evaluation: Evaluation, rows: Sequence[int]) -> dict[int, tuple[list[dict[str, Any]], str]]:
    """``{row: (messages before the answer, reference)}`` of these rows of an evaluation; rows it never asked are left out."""
    frame = samples_frame(evaluation)
    if frame is None or not rows:
        return {}
    import polars as pl

    found: dict[int, tuple[list[dict[str, Any]], str]] = {}
    for values in frame.filter(pl.col("row").is_in(list(rows))).collect().to_dicts():
        told = json.loads(values["messages"]) if values.get("messages") else None
        messages = told or [{"role": "user", "content": values.get("prompt") or ""}]
        found[int(values["row"])] = messages, values.get("reference") or ""
    return found


def question_words(messages: Sequence[Mapping[str, Any]]) -> str:
    """The conversation before the answer as text; a single question stands without its speaker."""
    spoken = [message for message in messages if message.get("role") != "system"]
    if len(spoken) == 1:
        return str(spoken[0].get("content", ""))
    names = {"user": _("Question"), "assistant": _("Answer")}
    return "\n\n".join(f"{names.get(str(m.get('role')), m.get('role'))}: {m.get('content', '')}" for m in spoken)


def _runs(project: Project) -> list[_Ran]:
    rows = Evaluation.objects.filter(project=project, work__state=State.SUCCEEDED, report__regressions__n__gt=0)
    fields = ("id", "trained_model_id", "trained_model__name", "created_at", "report__regressions")
    found = list(rows.order_by("-id").values_list(*fields)[:MOST_REPORTS])[::-1]
    return [
        _Ran(pk, model, name, at, {str(case.get("id")): case for case in told.get("failed") or ()}, _asked(told))
        for pk, model, name, at, told in found
    ]


def _asked(told: Mapping[str, Any]) -> frozenset[str] | None:
    asked = told.get("asked")
    return None if asked is None else frozenset(map(str, asked))


def _line(case: RegressionCase, ran: Sequence[_Ran]) -> CaseLine:
    outcomes = [_outcome(case, run) for run in ran if run.has_asked(case)]
    origin = case.origin or {}
    is_sample = origin.get("kind") == "evaluation"
    return CaseLine(
        case=case,
        question=question_words(case.messages),
        origin_words=_origin_words(origin),
        origin_evaluation_id=str(origin.get("id") or "") if is_sample else "",
        origin_row=origin.get("row") if is_sample else None,
        latest=outcomes[-1] if outcomes else None,
        first_broken=next((outcome for outcome in outcomes if not outcome.passed), None),
    )


def _outcome(case: RegressionCase, run: _Ran) -> Outcome:
    failure = run.failed.get(case.pk)
    if failure is None:
        return Outcome(run.evaluation_id, run.model_name, run.created_at, True)
    answer, why = str(failure.get("answer") or ""), str(failure.get("why") or "")
    return Outcome(run.evaluation_id, run.model_name, run.created_at, False, answer, why)


def _origin_words(origin: Mapping[str, Any]) -> str:
    words = {
        "form": _("written here"),
        "paste": _("pasted"),
        "api": _("sent by a program"),
        "evaluation": _("from an evaluation, row %(row)s") % {"row": origin.get("row")},
        "feedback": _("from feedback on an answer"),
    }
    return words.get(str(origin.get("kind")), "")
