"""The native API of the review queue: the JSON twin of its page, so that a team's own screen can be put before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from django.http import HttpRequest
from ninja import Query, Router, Status

from accounts_app.api import key_auth
from accounts_app.choices import Act, Role
from accounts_app.models import User
from accounts_app.permissions import Actor
from datasets_app import operations
from datasets_app.api_review_schemas import (
    AssignIn,
    BulkIn,
    BulkList,
    BulkOut,
    CardOut,
    DecisionIn,
    DecisionOut,
    DraftIn,
    DraftOut,
    Filters,
    HeldOut,
    NextIn,
    NoteOut,
    PersonIn,
    ProgressOut,
    ShareOut,
    SharesOut,
    UnassignIn,
)
from datasets_app.api_schemas import ExampleOut, example_out
from datasets_app.choices import DatasetState
from datasets_app.models import BulkAct, Dataset, Draft, RowLock
from datasets_app.operations import review as queue
from datasets_app.operations.review import Taken
from datasets_app.queries import edits
from datasets_app.queries import review as reads
from datasets_app.queries.review import DEFAULT_FILTERS
from datasets_app.queries.rows import ExampleRow, RowFilters, full_rows, visible
from datasets_app.row_messages import with_texts
from datasets_app.views.detail import dataset_of
from finetune_engine.errors import UserError

router = Router(tags=["Review"])
BULK_SECONDS = 20.0


def _dataset(request: HttpRequest, dataset_id: str) -> tuple[Actor, Dataset]:
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    dataset = dataset_of(actor, dataset_id)
    if dataset.state != DatasetState.READY:
        raise UserError("dataset_not_ready", "The rows can be reviewed once the dataset is ready.", status=409)
    return actor, dataset


def _reviewing(actor: Actor, dataset: Dataset, email: str) -> tuple[Actor, User]:
    """The key acting for a person: the member with this address, else who made the key, else the project's owner."""
    if email:
        return _acting(actor, _member(dataset, email))
    maker = actor.api_key.created_by if actor.api_key else None
    if maker is not None and (person := reads.reviewer_named(dataset, maker.email)):
        return _acting(actor, person)
    owners = User.objects.filter(memberships__project=actor.project, memberships__role=Role.OWNER)
    owner = owners.order_by("memberships__created_at", "pk").first()
    if owner is None:
        raise UserError("reviewer_needed", "Name a member of the project who looks at the row.", field="reviewer")
    return _acting(actor, owner)


def _acting(actor: Actor, person: User) -> tuple[Actor, User]:
    return replace(actor, user=person), person


def _member(dataset: Dataset, email: str) -> User:
    person = reads.reviewer_named(dataset, email)
    if person is None:
        sentence = f"No member with the address {email[:100]!r} may decide on rows of this project."
        raise UserError("unknown_reviewer", sentence, field="reviewer")
    return person


def _narrowed(actor: Actor, given: Filters, dataset: Dataset, reviewer: str = "") -> RowFilters:
    """The filters that were given. ``me`` is the ``reviewer`` (an address), else the person whom the key acts for."""
    values = {name: getattr(given, name) for name in ("status", "code", "label", "split", "q")}
    if given.assigned == "me":
        values["assigned"] = _reviewing(actor, dataset, reviewer)[1].pk
    elif given.assigned:
        values["assigned"] = _member(dataset, given.assigned).pk
    return RowFilters.checked(**values)


def _filters(actor: Actor, given: Filters, dataset: Dataset, reviewer: str = "") -> RowFilters:
    """The same; rows that need review when nothing was given."""
    found = _narrowed(actor, given, dataset, reviewer)
    return found if found.any else DEFAULT_FILTERS


def _row(dataset: Dataset, row: int) -> ExampleRow:
    found = visible(dataset).filter(row=row).first() if 0 < row < 2**31 else None
    if found is None:
        raise UserError("no_such_row", f"This dataset has no row {row}.", status=404)
    return full_rows(dataset, [found])[0]


def _card_out(taken: Taken, person: User) -> CardOut:
    card = taken.card
    return CardOut(
        example=example_out(card.row) if card else None,
        related=[example_out(row) for row in card.related] if card else [],
        draft=card.draft if card else None,
        held_until=card.expires_at if card else None,
        reviewer=person.email,
        searched_to=taken.found.searched_to,
        came_round=taken.found.came_round,
    )


def _next(request: HttpRequest, dataset_id: str, wanted: NextIn) -> CardOut:
    actor, dataset = _dataset(request, dataset_id)
    acting, person = _reviewing(actor, dataset, wanted.reviewer)
    taken = queue.take_next(
        actor=acting,
        dataset=dataset,
        filters=_filters(actor, wanted, dataset, wanted.reviewer),
        after=wanted.after,
        came_round=wanted.came_round,
    )
    return _card_out(taken, person)


@router.get("/datasets/{dataset_id}/review/next", auth=key_auth(Act.REVIEW), response=CardOut, summary="The next row")
def get_next(request: HttpRequest, dataset_id: str, wanted: Query[NextIn]) -> CardOut:
    """The row that the reviewer has already, else the next free one; it is held for them for some minutes."""
    return _next(request, dataset_id, wanted)


@router.post("/datasets/{dataset_id}/review/next", auth=key_auth(Act.REVIEW), response=CardOut, summary="The next row")
def post_next(request: HttpRequest, dataset_id: str, wanted: NextIn | None = None) -> CardOut:
    """The same with a JSON body."""
    return _next(request, dataset_id, wanted or NextIn.model_validate({}))


@router.post(
    "/datasets/{dataset_id}/review/decisions", auth=key_auth(Act.REVIEW), response=DecisionOut, summary="Decide"
)
def decide(request: HttpRequest, dataset_id: str, wanted: DecisionIn) -> DecisionOut:
    """Accept, reject, edit or skip one row. 409 when somebody else holds it or has decided on it meanwhile."""
    actor, dataset = _dataset(request, dataset_id)
    acting, _person = _reviewing(actor, dataset, wanted.reviewer)
    row = _row(dataset, wanted.row)
    lead = wanted.lead_seconds
    if lead is None:
        lead = queue.seconds_held(actor=acting, dataset=dataset, row=wanted.row)
    if wanted.action == "skip":
        queue.skip_example(actor=acting, dataset=dataset, row=wanted.row, lead_seconds=lead)
        return DecisionOut(saved=True, example=example_out(row))
    if wanted.action != "edit":
        operations.decide_example(
            actor=acting,
            dataset=dataset,
            example=row.example,
            action=wanted.action,
            lead_seconds=lead,
            only_undecided=True,
        )
        return DecisionOut(saved=True, example=example_out(row))
    return _edit(acting, dataset, row, wanted, lead)


def _edit(actor: Actor, dataset: Dataset, row: ExampleRow, wanted: DecisionIn, lead: float | None) -> DecisionOut:
    answer = wanted.answer if wanted.answer is not None else wanted.label
    if wanted.messages is None and wanted.prompt is None and answer is None:
        raise UserError("nothing_to_edit", "An edit needs messages, prompt, answer or label.", field="messages")
    messages = wanted.messages
    if messages is None:
        messages = with_texts(edits.editable(row), wanted.prompt, answer)
    check = edits.check_edit(dataset, row, messages)
    notes = [NoteOut(code=note.code, message=note.sentence) for note in check.noted]
    if notes and not wanted.confirmed and not check.refusal:
        return DecisionOut(saved=False, example=example_out(row), notes=notes)
    operations.edit_example(
        actor=actor,
        dataset=dataset,
        example=row.example,
        messages=messages,
        lead_seconds=lead,
        only_undecided=True,
    )
    return DecisionOut(saved=True, example=example_out(row), notes=notes)


@router.post("/datasets/{dataset_id}/review/undo", auth=key_auth(Act.REVIEW), response=ExampleOut, summary="Undo")
def undo(request: HttpRequest, dataset_id: str, wanted: PersonIn | None = None) -> ExampleOut:
    """Takes the reviewer's last act back and gives them the row again. 409 when somebody else has changed it since."""
    actor, dataset = _dataset(request, dataset_id)
    acting, _person = _reviewing(actor, dataset, wanted.reviewer if wanted else "")
    example = queue.undo_last(actor=acting, dataset=dataset)
    return example_out(full_rows(dataset, [example])[0])


@router.get(
    "/datasets/{dataset_id}/review/drafts/{row}", auth=key_auth(Act.REVIEW), response=DraftOut, summary="A draft"
)
def get_draft(request: HttpRequest, dataset_id: str, row: int, reviewer: str = "") -> DraftOut:
    """What the reviewer typed into the row and did not save."""
    actor, dataset = _dataset(request, dataset_id)
    _acting_for, person = _reviewing(actor, dataset, reviewer)
    _row(dataset, row)
    draft = Draft.objects.filter(dataset=dataset, row=row, user=person).first()
    if draft is None:
        raise UserError("no_draft", "There is no draft of this row.", status=404)
    return DraftOut(row=row, messages=draft.messages, updated_at=draft.updated_at)


@router.put(
    "/datasets/{dataset_id}/review/drafts/{row}", auth=key_auth(Act.REVIEW), response=DraftOut, summary="Keep a draft"
)
def put_draft(request: HttpRequest, dataset_id: str, row: int, wanted: DraftIn) -> DraftOut:
    """Keeps what was typed, whatever it is worth; also holds the row on."""
    actor, dataset = _dataset(request, dataset_id)
    acting, _person = _reviewing(actor, dataset, wanted.reviewer)
    _row(dataset, row)
    draft = queue.save_draft(actor=acting, dataset=dataset, row=row, messages=wanted.messages)
    queue.keep_row(actor=acting, dataset=dataset, row=row)
    return DraftOut(row=row, messages=draft.messages, updated_at=draft.updated_at)


@router.delete(
    "/datasets/{dataset_id}/review/drafts/{row}", auth=key_auth(Act.REVIEW), response={204: None}, summary="Forget it"
)
def delete_draft(request: HttpRequest, dataset_id: str, row: int, reviewer: str = "") -> Status[None]:
    """Forgets the draft."""
    actor, dataset = _dataset(request, dataset_id)
    acting, _person = _reviewing(actor, dataset, reviewer)
    _row(dataset, row)
    queue.discard_draft(actor=acting, dataset=dataset, row=row)
    return Status(204, None)


@router.post(
    "/datasets/{dataset_id}/review/locks/{row}", auth=key_auth(Act.REVIEW), response=HeldOut, summary="Hold a row on"
)
def hold(request: HttpRequest, dataset_id: str, row: int, wanted: PersonIn | None = None) -> HeldOut:
    """The card is still open. ``held`` is false when the row went to somebody else."""
    actor, dataset = _dataset(request, dataset_id)
    acting, person = _reviewing(actor, dataset, wanted.reviewer if wanted else "")
    _row(dataset, row)
    held = queue.keep_row(actor=acting, dataset=dataset, row=row)
    until = RowLock.objects.filter(dataset=dataset, row=row, user=person).values_list("expires_at", flat=True).first()
    return HeldOut(row=row, held=held, held_until=until if held else None)


@router.delete(
    "/datasets/{dataset_id}/review/locks/{row}", auth=key_auth(Act.REVIEW), response={204: None}, summary="Let a row go"
)
def release(request: HttpRequest, dataset_id: str, row: int, reviewer: str = "") -> Status[None]:
    """Leaves the row to others at once."""
    actor, dataset = _dataset(request, dataset_id)
    acting, _person = _reviewing(actor, dataset, reviewer)
    queue.release_row(actor=acting, dataset=dataset, row=_row(dataset, row).example.row)
    return Status(204, None)


@router.get(
    "/datasets/{dataset_id}/review/assignments", auth=key_auth(Act.VIEW), response=SharesOut, summary="Who has rows"
)
def list_assignments(request: HttpRequest, dataset_id: str) -> SharesOut:
    """Everybody who may decide on rows, with how many are given to each."""
    _actor, dataset = _dataset(request, dataset_id)
    return SharesOut(data=[_share_out(share.user, share.left) for share in reads.reviewers(dataset)])


def _share_out(user: User, left: int) -> ShareOut:
    return ShareOut(reviewer=user.email, left=min(left, reads.COUNTED_TO), more=left > reads.COUNTED_TO)


@router.post(
    "/datasets/{dataset_id}/review/assignments", auth=key_auth(Act.TRAIN), response=SharesOut, summary="Give rows out"
)
def assign(request: HttpRequest, dataset_id: str, wanted: AssignIn) -> SharesOut:
    """Answers how many rows each got by this call."""
    actor, dataset = _dataset(request, dataset_id)
    people = [_member(dataset, email) for email in dict.fromkeys(wanted.reviewers)]
    filters = _filters(actor, wanted, dataset)
    shares = queue.assign_rows(actor=actor, dataset=dataset, filters=filters, people=people, count=wanted.count)
    return SharesOut(data=[ShareOut(reviewer=person.email, left=shares[person.pk]) for person in people])


@router.post("/datasets/{dataset_id}/review/unassign", auth=key_auth(Act.TRAIN), summary="Take rows back")
def unassign(request: HttpRequest, dataset_id: str, wanted: UnassignIn | None = None) -> dict[str, int]:
    """From one member, or from all; answers how many changed."""
    actor, dataset = _dataset(request, dataset_id)
    person = _member(dataset, wanted.reviewer) if wanted and wanted.reviewer else None
    return {"changed": queue.unassign_rows(actor=actor, dataset=dataset, person=person)}


@router.get("/datasets/{dataset_id}/review/bulk", auth=key_auth(Act.VIEW), response=BulkList, summary="Bulk decisions")
def list_bulk(request: HttpRequest, dataset_id: str) -> BulkList:
    """The newest fifty."""
    _actor, dataset = _dataset(request, dataset_id)
    return BulkList(data=[_bulk_out(act) for act in reads.recent_bulk_acts(dataset, 50)])


@router.post(
    "/datasets/{dataset_id}/review/bulk", auth=key_auth(Act.REVIEW), response=BulkOut, summary="Decide on many"
)
def bulk(request: HttpRequest, dataset_id: str, wanted: BulkIn) -> BulkOut:
    """Accepts or rejects every undecided row that fits. At least one filter is needed."""
    actor, dataset = _dataset(request, dataset_id)
    filters = _narrowed(actor, wanted, dataset)
    act = operations.decide_rows(
        actor=actor, dataset=dataset, filters=filters, action=wanted.action, seconds=BULK_SECONDS
    )
    return _bulk_out(act)


@router.post(
    "/datasets/{dataset_id}/review/bulk/{bulk_id}/{what}", auth=key_auth(Act.REVIEW), response=BulkOut, summary="Go on"
)
def change_bulk(request: HttpRequest, dataset_id: str, bulk_id: int, what: Literal["continue", "undo"]) -> BulkOut:
    """``continue`` goes on with a decision that is not ``done``; ``undo`` takes it back (repeat until ``undone``)."""
    actor, dataset = _dataset(request, dataset_id)
    act = BulkAct.objects.filter(dataset=dataset, pk=bulk_id).first() if bulk_id < 2**63 else None
    if act is None:
        raise UserError("no_such_act", "There is no such decision for many rows.", status=404)
    if what == "undo":
        operations.undo_bulk(actor=actor, bulk=act, seconds=BULK_SECONDS)
        act.refresh_from_db()
    else:
        filters = RowFilters.checked(**act.filters)
        act = operations.decide_rows(
            actor=actor, dataset=dataset, filters=filters, action=act.action, seconds=BULK_SECONDS, bulk=act
        )
    return _bulk_out(act)


def _bulk_out(act: BulkAct) -> BulkOut:
    return BulkOut(
        id=act.pk,
        action=act.action,
        filters=act.filters,
        rows=act.rows,
        done=act.reached_row is None,
        undone=act.undone_at is not None,
        created_at=act.created_at,
    )


@router.get(
    "/datasets/{dataset_id}/review/progress", auth=key_auth(Act.VIEW), response=ProgressOut, summary="How far it is"
)
def get_progress(request: HttpRequest, dataset_id: str, reviewer: str = "") -> ProgressOut:
    """Of the dataset, and of one reviewer."""
    actor, dataset = _dataset(request, dataset_id)
    _acting_for, person = _reviewing(actor, dataset, reviewer)
    progress = reads.progress(
        dataset,
        reads.sums_of(dataset, person),
        median_seconds=reads.standing(dataset, person).median_seconds,
        assigned=reads.assigned_left(dataset, person),
    )
    return ProgressOut(
        reviewer=person.email,
        decided=progress.decided,
        waiting=progress.waiting,
        total=progress.total,
        mine_today=progress.mine_today,
        mine=progress.mine,
        skipped_today=progress.skipped_today,
        median_seconds=progress.median_seconds,
        assigned=min(progress.assigned, reads.COUNTED_TO),
        assigned_more=progress.assigned_is_more,
    )
