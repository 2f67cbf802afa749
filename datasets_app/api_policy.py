"""The native API of what a project decided about its data, and of mending it: the JSON twin of the pages about personal
data, cleaning, mending and duplicates."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.http import HttpRequest
from ninja import Router

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.api_policy_schemas import (
    ChangedText,
    DecidedOut,
    GroupChange,
    GroupList,
    GroupOut,
    KindList,
    KindOut,
    MemberOut,
    MendedList,
    MendedOut,
    MendIn,
    PieceOut,
    PolicyIn,
    PolicyOut,
    PreviewIn,
    PreviewOut,
    SpellingChange,
    SpellingList,
    SpellingOut,
    StepList,
    StepOut,
)
from datasets_app.models import Dataset
from datasets_app.operations.contradictions import settle_group, undo_group, undo_spelling, use_spelling
from datasets_app.operations.mending import NewText, mend_rows
from datasets_app.operations.policy import set_cleaning, set_pii_decisions
from datasets_app.queries.cleaning import cleaning_preview, step_lines
from datasets_app.queries.groups import NEAR, Group, group_at, group_page, spelling_variants
from datasets_app.queries.policy import (
    cleaning_plan,
    decisions_made,
    kind_decisions,
    pii_policy,
    policy_of,
)
from datasets_app.views.ready import ready_dataset, row_number
from finetune_engine.errors import UserError

router = Router(tags=["Data"])
MOST_GROUPS = 50


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]  # set by ninja
    return actor


def _ready(request: HttpRequest, dataset_id: str) -> tuple[Actor, Dataset]:
    actor = _actor(request)
    return actor, ready_dataset(actor, dataset_id)


def _policy_out(actor: Actor) -> PolicyOut:
    policy = policy_of(actor.project)
    decided = {name: DecidedOut(by=one.by or None, at=one.at) for name, one in decisions_made(policy).items()}
    return PolicyOut(pii=pii_policy(actor.project), decided=decided, **cleaning_plan(actor.project))


@router.get("/data-policy", auth=key_auth(Act.VIEW), response=PolicyOut, summary="What the project decided")
def get_policy(request: HttpRequest) -> PolicyOut:
    """What happens to personal data of each kind (``mask``, ``reject``, ``keep``), and how texts are cleaned."""
    return _policy_out(_actor(request))


@router.put("/data-policy", auth=key_auth(Act.TRAIN), response=PolicyOut, summary="Decide")
def put_policy(request: HttpRequest, wanted: PolicyIn) -> PolicyOut:
    """Holds for every later upload and snapshot of the project. Cleaning reaches a dataset that exists when it is
    checked again."""
    actor = _actor(request)
    given = wanted.model_fields_set
    with transaction.atomic():
        if given & {"cleaning", "replacements", "boilerplate"}:
            plan = cleaning_plan(actor.project) | _plan(wanted, given)
            set_cleaning(
                actor=actor, steps=plan["cleaning"], replacements=plan["replacements"], boilerplate=plan["boilerplate"]
            )
        if wanted.pii:
            set_pii_decisions(actor=actor, decisions=wanted.pii)
    return _policy_out(actor)


def _plan(wanted: PolicyIn | PreviewIn, given: set[str]) -> dict[str, Any]:
    """The import options among what was given."""
    plan: dict[str, Any] = {}
    if "cleaning" in given:
        plan["cleaning"] = wanted.cleaning
    if "replacements" in given:
        plan["replacements"] = [rule.dict() for rule in wanted.replacements or []]
    if "boilerplate" in given:
        plan["boilerplate"] = wanted.boilerplate or []
    return plan


@router.get(
    "/datasets/{dataset_id}/personal-data", auth=key_auth(Act.VIEW), response=KindList, summary="Personal data by kind"
)
def list_kinds(request: HttpRequest, dataset_id: str) -> KindList:
    """How many rows hold each kind, and what is decided for it. The values themselves are never given."""
    actor, dataset = _ready(request, dataset_id)
    return KindList(
        data=[
            KindOut(
                kind=one.kind,
                title=one.title,
                rows=one.rows,
                action=one.action,
                decided=DecidedOut(by=one.decided.by or None, at=one.decided.at),
            )
            for one in kind_decisions(actor.project, dataset)
        ]
    )


@router.get("/datasets/{dataset_id}/cleaning", auth=key_auth(Act.VIEW), response=StepList, summary="Cleaning steps")
def list_steps(request: HttpRequest, dataset_id: str) -> StepList:
    """The steps in order, switched as the project decided, with the rows that each changed at the last check."""
    actor, dataset = _ready(request, dataset_id)
    lines = step_lines(dataset, cleaning_plan(actor.project))
    return StepList(
        data=[StepOut(name=s.name, title=s.title, description=s.description, is_on=s.is_on, rows=s.rows) for s in lines]
    )


@router.post(
    "/datasets/{dataset_id}/cleaning/preview",
    auth=key_auth(Act.VIEW),
    response=PreviewOut,
    summary="Try a cleaning plan out",
)
def preview_cleaning(request: HttpRequest, dataset_id: str, wanted: PreviewIn) -> PreviewOut:
    """Cleans a bounded number of rows as they were uploaded; nothing is stored."""
    actor, dataset = _ready(request, dataset_id)
    options = cleaning_plan(actor.project) | _plan(wanted, wanted.model_fields_set)
    shown = cleaning_preview(dataset, options, wanted.after)
    return PreviewOut(
        data=[
            ChangedText(
                row=row.row,
                column=text.column,
                steps=text.steps,
                pieces=[PieceOut(kind=piece.kind, text=piece.text) for piece in text.pieces],
            )
            for row in shown.items
            for text in row.texts
        ],
        looked_at=shown.looked_at,
        changed=shown.changed,
        next_cursor=None if shown.next_cursor is None else str(shown.next_cursor),
    )


@router.post("/datasets/{dataset_id}/mend", auth=key_auth(Act.REVIEW), response=MendedList, summary="Mend rows")
def mend(request: HttpRequest, dataset_id: str, wanted: MendIn) -> MendedList:
    """Gives rows another text and checks each at once: it is accepted, or the answer says why it still is out."""
    actor, dataset = _ready(request, dataset_id)
    texts = [NewText(row.row, row.prompt, row.answer) for row in wanted.rows]
    return MendedList(
        data=[
            MendedOut(
                row=one.row, accepted=not one.error, error=one.error or None, field=one.part, notes=list(one.notes)
            )
            for one in mend_rows(actor=actor, dataset=dataset, texts=texts)
        ]
    )


@router.get(
    "/datasets/{dataset_id}/groups",
    auth=key_auth(Act.VIEW),
    response=GroupList,
    summary="Contradictions and near-duplicates",
)
def list_groups(
    request: HttpRequest, dataset_id: str, kind: str = NEAR, cursor: str = "", limit: int = 20, settled: bool = False
) -> GroupList:
    """Groups of rows of one ``kind`` (``contradiction`` or ``near``) that wait for a decision; with ``settled`` all."""
    _, dataset = _ready(request, dataset_id)
    if cursor and not row_number(cursor):
        raise UserError("bad_cursor", "This cursor does not belong to this list.", field="cursor")
    page = group_page(dataset, kind, row_number(cursor), with_settled=settled, limit=max(1, min(limit, MOST_GROUPS)))
    following = None if page.next_cursor is None else str(page.next_cursor)
    return GroupList(data=[_group_out(group) for group in page.items], next_cursor=following)


@router.post(
    "/datasets/{dataset_id}/groups/{kind}/{group_id}",
    auth=key_auth(Act.REVIEW),
    response=GroupOut,
    summary="Decide on a group",
)
def change_group(request: HttpRequest, dataset_id: str, kind: str, group_id: int, change: GroupChange) -> GroupOut:
    """Accepts the rows to keep and rejects the others. Of a group of more than 200 rows, 200 change at a time: call it
    again until ``is_open`` is false."""
    actor, dataset = _ready(request, dataset_id)
    group = group_at(dataset, kind, group_id)
    if change.action == "undo":
        undo_group(actor=actor, dataset=dataset, rows=group.rows)
    else:
        keep = {"keep": change.rows, "keep_first": group.rows[:1], "keep_all": group.rows}[change.action]
        settle_group(actor=actor, dataset=dataset, rows=group.rows, keep=keep)
    return _group_out(group_at(dataset, kind, group_id))


def _group_out(group: Group) -> GroupOut:
    members = [
        MemberOut(
            row=member.number,
            status=member.row.example.status,
            decision=member.row.example.decision or None,
            prompt=member.row.prompt,
            answer=member.row.answer,
        )
        for member in group.members
    ]
    return GroupOut(id=group.anchor, kind=group.kind, is_open=group.is_open, rows=group.rows, members=members)


@router.get(
    "/datasets/{dataset_id}/spellings", auth=key_auth(Act.VIEW), response=SpellingList, summary="Spellings of labels"
)
def list_spellings(request: HttpRequest, dataset_id: str) -> SpellingList:
    """Rare spellings of labels with the usual one."""
    _, dataset = _ready(request, dataset_id)
    return SpellingList(
        data=[
            SpellingOut(found=one.found, usual=one.usual, rows=one.rows, changed=one.changed)
            for one in spelling_variants(dataset)
        ]
    )


@router.post(
    "/datasets/{dataset_id}/spellings", auth=key_auth(Act.REVIEW), summary="Give all rows the usual spelling of a label"
)
def change_spelling(request: HttpRequest, dataset_id: str, change: SpellingChange) -> dict[str, Any]:
    """Answers how many rows ``changed`` and whether all are ``done``; when not, call it again."""
    actor, dataset = _ready(request, dataset_id)
    act = use_spelling if change.action == "use" else undo_spelling
    changed, is_done = act(actor=actor, dataset=dataset, found=change.found)
    return {"changed": changed, "done": is_done}
