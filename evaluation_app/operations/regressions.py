"""Everything that changes the cases that no later model may get wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts_app.choices import Act
from accounts_app.operations import record
from accounts_app.permissions import Actor
from evaluation_app.models import Evaluation, RegressionCase
from evaluation_app.queries.regressions import sample_cases
from finetune_engine.errors import UserError

MOST_CASES = 2_000
LONGEST_TEXT = 20_000
LONGEST_NOTE = 300
MOST_MESSAGES = 50


@dataclass(frozen=True)
class NewCase:
    """A case to keep. ``messages`` end before the answer; ``origin`` says where it came from: ``{kind, id?, row?}``."""

    messages: Sequence[Mapping[str, Any]]
    expected: str
    note: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Added:
    """What became of the cases: those that are new, and how many the project had already."""

    cases: list[RegressionCase]
    known: int


def add_cases(*, actor: Actor, cases: Sequence[NewCase]) -> Added:
    """Keep these cases; every later evaluation asks them. All or none.

    Raises UserError for a case without a question or an answer, and above 2,000 cases in the project.
    """
    actor.require(Act.REVIEW)
    for case in cases:
        _refuse_unusable(case)
    with transaction.atomic():
        present = RegressionCase.objects.filter(project=actor.project, removed_at=None)
        known = {_fingerprint(messages, expected) for messages, expected in present.values_list("messages", "expected")}
        before = len(known)
        wanted = {_fingerprint(case.messages, case.expected): case for case in cases}
        new = [case for print_, case in wanted.items() if print_ not in known]
        if before + len(new) > MOST_CASES:
            raise UserError(
                "too_many_cases",
                f"A project can have {MOST_CASES:,} such cases: it has {before:,}, and {len(new):,} would come on top. "
                "Remove some that no longer matter.",
            )
        made = [_make(actor, case) for case in new]
        if made:
            data = {"count": len(made), "origin": str((cases[0].origin or {}).get("kind", ""))}
            record(actor=actor, project=actor.project, act="regression.add", subject=f"case {made[0].pk}", data=data)
    return Added(made, len(cases) - len(made))


def add_cases_from_rows(
    *, actor: Actor, evaluation: Evaluation, rows: Sequence[int], note: str = "", expected: str | None = None
) -> Added:
    """Keep cases that an evaluation asked, by row number. ``expected`` None: the answer that its data holds.

    Raises UserError 404 for a row that the evaluation did not ask.
    """
    actor.require(Act.REVIEW)
    found = sample_cases(evaluation, rows)
    missing = [row for row in rows if row not in found]
    if missing or not rows:
        sentence = f"This evaluation has no case of row {missing[0]}." if missing else "Choose at least one case."
        raise UserError("no_such_case", sentence, "rows", status=404 if missing else 422)
    cases = [
        NewCase(messages, reference if expected is None else expected, note,
                {"kind": "evaluation", "id": evaluation.pk, "row": row})
        for row, (messages, reference) in found.items()
    ]  # fmt: skip
    return add_cases(actor=actor, cases=cases)


def remove_case(*, actor: Actor, case: RegressionCase) -> RegressionCase:
    """Later models are no longer asked it. Removing twice is the same as once."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        if RegressionCase.objects.filter(pk=case.pk, removed_at=None).update(removed_at=timezone.now()):
            record(actor=actor, project=actor.project, act="regression.remove", subject=f"case {case.pk}")
    case.refresh_from_db()
    return case


def restore_case(*, actor: Actor, case: RegressionCase) -> RegressionCase:
    """Undo of ``remove_case``. Raises UserError above 2,000 cases in the project."""
    actor.require(Act.REVIEW)
    with transaction.atomic():
        if RegressionCase.objects.filter(project=actor.project, removed_at=None).count() >= MOST_CASES:
            raise UserError(
                "too_many_cases", f"A project can have {MOST_CASES:,} such cases. Remove another one first."
            )
        if RegressionCase.objects.filter(pk=case.pk, removed_at__isnull=False).update(removed_at=None):
            record(actor=actor, project=actor.project, act="regression.restore", subject=f"case {case.pk}")
    case.refresh_from_db()
    return case


def _make(actor: Actor, case: NewCase) -> RegressionCase:
    return RegressionCase.objects.create(
        project=actor.project,
        messages=[dict(message) for message in case.messages],
        expected=case.expected.strip(),
        note=case.note.strip(),
        origin=dict(case.origin),
        created_by=actor.user,
        created_by_key=actor.api_key,
    )


def _fingerprint(messages: Sequence[Mapping[str, Any]], expected: str) -> str:
    return json.dumps([list(map(dict, messages)), expected.strip()], sort_keys=True, ensure_ascii=False)


def _refuse_unusable(case: NewCase) -> None:
    if not case.messages or len(case.messages) > MOST_MESSAGES:
        raise _bad(f"A case needs a question of 1 to {MOST_MESSAGES} messages.", "messages")
    for message in case.messages:
        content = message.get("content")
        if message.get("role") not in {"system", "user", "assistant"} or not isinstance(content, str):
            raise _bad("Each message needs a 'role' (system, user or assistant) and a 'content' of text.", "messages")
        if len(content) > LONGEST_TEXT:
            raise _bad(f"A question can have at most {LONGEST_TEXT:,} characters.", "messages")
    last = case.messages[-1]
    if last["role"] == "assistant" or not last["content"].strip():
        raise _bad("The last message must be a question of the user's, with words in it.", "messages")
    if not case.expected.strip() or len(case.expected) > LONGEST_TEXT:
        raise _bad(f"Say which answer is right, in at most {LONGEST_TEXT:,} characters.", "expected")
    if len(case.note) > LONGEST_NOTE:
        raise _bad(f"The note can have at most {LONGEST_NOTE} characters.", "note")


def _bad(sentence: str, field_name: str) -> UserError:
    return UserError("bad_case", sentence, field_name)
