"""Where each complaint stands, from what was said to the version in use that gets it right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Q, QuerySet

from accounts_app.models import Project
from datasets_app.choices import SnapshotState, Status
from datasets_app.models import Dataset, Snapshot, Source
from datasets_app.queries.rows import visible
from datasets_app.queries.snapshots import snapshot_parquet
from evaluation_app.queries.regressions import Outcome, outcomes_by_model, question_words
from finetune_engine.errors import UserError
from jobs_app.models import TrainedModel
from jobs_app.queries import models_by_snapshot
from serving_app.choices import Verdict
from serving_app.models import Deployment, Feedback
from serving_app.queries.asked_again import Asked, asked_again
from serving_app.queries.deployments import current_deployment
from serving_app.queries.feedback import feedback_of, is_kept_as_case, is_part, proposed_key

MOST_LINES = 100
"""Complaints whose way is followed, the newest of them."""
MOST_SNAPSHOTS = 10


class Stage:
    """How far a complaint has come. Each is further than the one before it, but for ``LEFT_OUT``."""

    SAID = "said"  # no correction yet
    CORRECTED = "corrected"  # not proposed yet
    PROPOSED = "proposed"  # waits for review
    LEFT_OUT = "left_out"  # a reviewer rejected the row
    ACCEPTED = "accepted"  # in no snapshot yet
    FROZEN = "frozen"  # no version was made from that snapshot
    TRAINED = "trained"  # nobody has asked the new version the same yet
    STILL_WRONG = "still_wrong"
    PASSED = "passed"  # not in use yet
    IN_USE = "in_use"


@dataclass(frozen=True)
class Line:
    """One complaint.

    ``row`` is the row of ``dataset`` that its correction became (``is_in_data``: it is there or is being added), ``frozen`` the
    newest snapshot that holds it and ``split`` its part there. ``model`` is the newest version that was made from such a
    snapshot (``is_learned``: the row was in the part that it learned from), ``outcome`` what the version that was asked last
    did: by a regression case (``is_case``: later models are asked it), or because an evaluation asked the same question.
    """

    feedback: Feedback
    question: str
    stage: str
    dataset: Dataset | None = None
    row: int | None = None
    row_status: str = ""
    frozen: Snapshot | None = None
    split: str = ""
    model: TrainedModel | None = None
    is_learned: bool = False
    outcome: Outcome | None = None
    is_in_use: bool = False
    is_in_data: bool = False
    is_case: bool = False


@dataclass(frozen=True)
class Improvement:
    """The newest complaints with their standing, how many there are in each stage, and how many older ones are not shown."""

    lines: list[Line]
    counts: Counter[str]
    older: int
    deployment: Deployment | None


@dataclass(frozen=True)
class _Row:
    number: int
    status: str
    content_hash: str


@dataclass
class _Facts:
    """What was read for all complaints together."""

    rows: dict[str, _Row] = field(default_factory=dict)  # by feedback
    in_data: set[str] = field(default_factory=set)  # feedback
    frozen: dict[str, list[tuple[Snapshot, str]]] = field(default_factory=dict)  # by feedback, newest first
    models: dict[str, list[TrainedModel]] = field(default_factory=dict)  # by snapshot, newest first
    outcomes: dict[str, dict[str, Outcome]] = field(default_factory=dict)  # by case and model, as judged
    asked: dict[str, list[Asked]] = field(default_factory=dict)  # by feedback, the newest evaluation first
    deployment: Deployment | None = None


def complaints_of(project: Project) -> QuerySet[Feedback]:
    """Bad answers that nobody has set aside, newest first."""
    return feedback_of(project).filter(verdict=Verdict.BAD, dismissed_at=None)


def new_complaints(project: Project) -> int:
    """How many complaints nobody has made anything of: neither a row nor a case, and not set aside."""
    rows = Feedback.objects.filter(project=project, verdict=Verdict.BAD, dismissed_at=None)
    no_row = Q(proposed_at=None) | Q(dataset=None) | Q(dataset__deleted_at__isnull=False)
    no_case = Q(regression_case=None) | Q(regression_case__removed_at__isnull=False)
    return rows.filter(no_row, no_case).count()


def improvement(project: Project) -> Improvement:
    """Where the newest complaints stand. About ten queries and one look into each of a few snapshots, whatever their number."""
    rows = complaints_of(project)
    found = list(rows[:MOST_LINES])
    older = rows.count() - MOST_LINES if len(found) == MOST_LINES else 0
    facts = _facts(project, found)
    lines = [_line(one, facts) for one in found]
    return Improvement(lines, Counter(line.stage for line in lines), max(0, older), facts.deployment)


def _facts(project: Project, found: Sequence[Feedback]) -> _Facts:
    facts = _Facts(deployment=current_deployment(project))
    by_dataset: dict[str, list[Feedback]] = {}
    for one in found:
        if one.dataset is not None and one.dataset.deleted_at is None and one.proposed_at is not None:
            by_dataset.setdefault(one.dataset.pk, []).append(one)
    for mine in by_dataset.values():
        _look_up(mine, facts)
    facts.frozen = _frozen(by_dataset, facts.rows)
    held = {snapshot.pk for entries in facts.frozen.values() for snapshot, _split in entries}
    facts.models = models_by_snapshot(project, sorted(held)) if held else {}
    cases = [one.regression_case for one in found if one.regression_case is not None]
    facts.outcomes = outcomes_by_model(project, cases) if cases else {}
    facts.asked = asked_again(project, found) if found else {}
    return facts


def _look_up(feedback: Sequence[Feedback], facts: _Facts) -> None:
    """Which corrections are part of their dataset, and the row of each that has one. Two queries."""
    dataset = feedback[0].dataset
    assert dataset is not None
    numbers = [one.source_number or 0 for one in feedback]
    sources = {
        source.number: source
        for source in Source.objects.filter(dataset=dataset, number__in=numbers)
        if source.origin and is_part(source)
    }
    places = {one.pk: _place(one, dataset, sources) for one in feedback}
    wanted = [place for place in places.values() if place]
    fields = ("row", "status", "content_hash")
    rows = {row: _Row(row, status, text) for row, status, text in
            visible(dataset).filter(row__in=wanted).values_list(*fields)}  # fmt: skip
    facts.in_data |= {one.pk for one in feedback if (one.source_number or 0) in sources}
    facts.rows |= {pk: rows[place] for pk, place in places.items() if place in rows}


def _place(one: Feedback, dataset: Dataset, sources: Mapping[int, Source]) -> int | None:
    source = sources.get(one.source_number or 0)
    keys = list(source.origin.get("keys") or ()) if source is not None else []
    key = proposed_key(one, dataset)
    if source is None or not source.rows or key not in keys:
        return None
    return source.first_row + keys.index(key)


def _frozen(
    by_dataset: Mapping[str, Sequence[Feedback]], rows: Mapping[str, _Row]
) -> dict[str, list[tuple[Snapshot, str]]]:
    """The snapshots that hold each correction. One query and one look into each snapshot made since the first of them."""
    found: dict[str, list[tuple[Snapshot, str]]] = {}
    for mine in by_dataset.values():
        placed = [one for one in mine if one.pk in rows]
        if not placed:
            continue
        since = min(one.proposed_at for one in placed if one.proposed_at is not None)
        snapshots = Snapshot.objects.filter(
            dataset=placed[0].dataset, state=SnapshotState.READY, created_at__gte=since
        ).select_related("dataset")
        for snapshot in snapshots.order_by("-number")[:MOST_SNAPSHOTS]:
            held = _held(snapshot, [rows[one.pk] for one in placed])
            for one in placed:
                if split := held.get(rows[one.pk].number):
                    found.setdefault(one.pk, []).append((snapshot, split))
    return found


def _held(snapshot: Snapshot, rows: Sequence[_Row]) -> dict[int, str]:
    """``{row: split}`` of these rows in a snapshot. They are known by their text, and where a reviewer has edited that, by their
    number."""
    import polars as pl

    try:
        frame = pl.scan_parquet(snapshot_parquet(snapshot))
    except (UserError, OSError):  # its file was taken out of the storage meanwhile
        return {}
    numbers = {row.number for row in rows}
    hashes = {row.content_hash: row.number for row in rows if row.content_hash}
    is_one = pl.col("row").is_in(list(numbers)) | pl.col("content_hash").is_in(list(hashes))
    held: dict[int, str] = {}
    for entry in frame.select("row", "split", "content_hash").filter(is_one).collect().to_dicts():
        number = hashes.get(entry["content_hash"], entry["row"])
        held.setdefault(number, entry["split"])
    return {number: split for number, split in held.items() if number in numbers}


def _line(one: Feedback, facts: _Facts) -> Line:
    row = facts.rows.get(one.pk)
    entries = facts.frozen.get(one.pk, [])
    made = {model.pk: model for snapshot, _split in entries for model in facts.models.get(snapshot.pk, ())}
    model = max(made.values(), key=lambda entry: entry.pk, default=None)
    learned = {snapshot.pk for snapshot, split in entries if split == "train"}
    outcomes = _outcomes(one, facts)
    newest = next(reversed(outcomes.values()), None)
    used = facts.deployment.trained_model_id if facts.deployment is not None else None
    in_use = used in outcomes and outcomes[used].passed
    return Line(
        feedback=one,
        question=question_words(one.messages),
        stage=_stage(one, row, one.pk in facts.in_data, bool(entries), model, newest, in_use),
        dataset=one.dataset if one.pk in facts.in_data else None,
        row=row.number if row else None,
        row_status=row.status if row else "",
        frozen=entries[0][0] if entries else None,
        split=entries[0][1] if entries else "",
        model=model,
        is_learned=model is not None and model.training_job.snapshot_id in learned,
        outcome=newest,
        is_in_use=in_use,
        is_in_data=one.pk in facts.in_data,
        is_case=is_kept_as_case(one),
    )


def _outcomes(one: Feedback, facts: _Facts) -> dict[str, Outcome]:
    """What each version did with this question after the complaint, in the order in which they were judged. A kept case says more
    than a row of an evaluation that happens to ask the same."""
    found: dict[str, Outcome] = {}
    for asked in reversed(facts.asked.get(one.pk, ())):
        found.pop(asked.model_id, None)
        found[asked.model_id] = asked.outcome
    if one.regression_case_id is not None:
        for model_id, outcome in facts.outcomes.get(one.regression_case_id, {}).items():
            found.pop(model_id, None)
            found[model_id] = outcome
    return {model_id: outcome for model_id, outcome in found.items() if outcome.at >= one.at}


def _stage(
    one: Feedback,
    row: _Row | None,
    is_in_data: bool,
    is_frozen: bool,
    model: TrainedModel | None,
    outcome: Outcome | None,
    in_use: bool,
) -> str:
    if in_use:
        return Stage.IN_USE
    if outcome is not None and outcome.passed:
        return Stage.PASSED
    if model is not None:
        return Stage.TRAINED if outcome is None or outcome.at < model.created_at else Stage.STILL_WRONG
    if is_frozen:
        return Stage.FROZEN
    if row is not None and row.status in (Status.ACCEPTED, Status.FLAGGED):
        return Stage.ACCEPTED
    if row is not None and row.status == Status.REJECTED:
        return Stage.LEFT_OUT
    if is_in_data:
        return Stage.PROPOSED
    return Stage.CORRECTED if one.correction else Stage.SAID
