"""What people say about rows. The counters on the dataset move with every decision."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts_app.operations import record
from accounts_app.permissions import Actor
from datasets_app import chunks, queries
from datasets_app.bulk import BATCH
from datasets_app.choices import DatasetState, Decision, Status, TaskType
from datasets_app.models import Dataset, Example
from finetune_engine.errors import UserError

ROLES = ("system", "developer", "user", "assistant", "tool")
LONGEST_EDIT = 200_000  # characters in all messages of one row


def decide_example(*, actor: Actor, dataset: Dataset, example: Example, action: str) -> Example:
    """Accept or reject one row (``accept``, ``reject``). An edit that was made before stays.

    Raises UserError for another action, and for accepting a row without a question or an answer.
    """
    statuses = {"accept": Status.ACCEPTED, "reject": Status.REJECTED}
    if action not in statuses:
        raise UserError("unknown_action", "A row can be accepted, rejected, edited or undone.", field="action")
    _check_ready(dataset)
    if action == "accept" and example.checked_status == Status.REJECTED:
        _check_acceptable(dataset, example)
    decision = Decision.EDIT if example.edited_messages is not None and action == "accept" else Decision(action)
    return _change(actor, dataset, example, f"example.{action}", status=statuses[action], decision=decision)


def edit_example(
    *,
    actor: Actor,
    dataset: Dataset,
    example: Example,
    messages: list[dict[str, Any]] | None = None,
    prompt: str | None = None,
    answer: str | None = None,
) -> Example:
    """Give a row another text, and accept it; the original is kept. Either all ``messages``, or ``prompt`` (the last
    question) and/or ``answer``. Of a classification the answer is the label.

    Raises UserError naming the field when the messages cannot be trained on.
    """
    _check_ready(dataset)
    if messages is None:
        messages = _with_texts(_current_messages(dataset, example), prompt, answer)
    clean = checked_messages(messages)
    has_label = dataset.task_type == TaskType.CLASSIFICATION
    return _change(
        actor,
        dataset,
        example,
        "example.edit",
        status=Status.ACCEPTED,
        decision=Decision.EDIT,
        edited_messages=clean,
        edited_label=str(clean[-1]["content"]) if has_label else None,
    )


def undo_decision(*, actor: Actor, dataset: Dataset, example: Example) -> Example:
    """Put a row back to what the checks said, without its edit."""
    _check_ready(dataset)
    return _change(
        actor,
        dataset,
        example,
        "example.undo",
        status=Status(example.checked_status),
        decision=Decision.NONE,
        edited_messages=None,
        edited_label=None,
    )


def decide_finding(*, actor: Actor, dataset: Dataset, code: str, action: str, status: str = "") -> int:
    """Accept or reject every undecided row with this finding (only those of ``status`` when given). Rows that could
    not be read are never accepted. Returns how many rows moved. Works in batches; may be repeated."""
    if action not in {"accept", "reject"}:
        raise UserError("unknown_action", "All rows of a finding can be accepted or rejected.", field="action")
    _check_ready(dataset)
    target = Status.ACCEPTED if action == "accept" else Status.REJECTED
    moved, after = 0, 0
    while rows := queries.rows_with_code(dataset, code, after=after, limit=BATCH):
        after = rows[-1]
        with transaction.atomic():
            undecided = (
                Example.objects.select_for_update()
                .filter(dataset=dataset, import_attempt=dataset.visible_attempt, row__in=rows, decision="")
                .exclude(status=target)
            )
            if status:
                undecided = undecided.filter(status=status)
            if action == "accept":
                undecided = undecided.exclude(answer_head="", status=Status.REJECTED)
            found = list(undecided.values_list("pk", "status"))
            Example.objects.filter(pk__in=[pk for pk, _ in found]).update(
                status=target, decision=Decision(action), decided_by=actor.user, decided_at=timezone.now()
            )
            _move_counters(dataset, Counter(old for _, old in found), target)
            moved += len(found)
    with transaction.atomic():
        record(
            actor=actor,
            project=actor.project,
            act=f"finding.{action}",
            subject=f"dataset {dataset.pk}",
            data={"code": code, "rows": moved},
        )
    return moved


def checked_messages(messages: Any) -> list[dict[str, Any]]:
    """The messages without anything but role and content, or UserError saying what is wrong with them."""
    if not isinstance(messages, list) or not messages:
        raise UserError("missing_messages_list", "A row needs at least a question and an answer.", field="messages")
    clean: list[dict[str, Any]] = []
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise UserError(
                "unrecognized_role", f"Message {number} needs a role: {', '.join(ROLES)}.", field="messages"
            )
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            raise UserError("missing_content", f"Message {number} has no text.", field="messages")
        kept = {key: message[key] for key in ("name", "tool_calls", "tool_call_id", "weight") if key in message}
        clean.append({"role": message["role"], "content": content, **kept})
    if sum(len(str(message["content"] or "")) for message in clean) > LONGEST_EDIT:
        raise UserError("too_long", f"A row may hold {LONGEST_EDIT:,} characters at most.", field="messages")
    if not any(m["role"] == "user" and (m["content"] or "").strip() for m in clean):
        raise UserError("empty_input", "Write the input: the model needs something to answer.", field="prompt")
    if clean[-1]["role"] != "assistant" or not (clean[-1]["content"] or "").strip():
        raise UserError("empty_answer", "Write the answer: it is what the model learns.", field="answer")
    return clean


def _with_texts(messages: list[dict[str, Any]], prompt: str | None, answer: str | None) -> list[dict[str, Any]]:
    """The messages with another last question and another answer."""
    messages = [dict(message) for message in messages]
    if not any(message["role"] == "user" for message in messages):
        messages.append({"role": "user", "content": ""})
    if messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    if prompt is not None:
        last = max(i for i, message in enumerate(messages) if message["role"] == "user")
        messages[last]["content"] = prompt.replace("\r\n", "\n")
    if answer is not None:
        messages[-1]["content"] = answer.replace("\r\n", "\n")
    return messages


def _current_messages(dataset: Dataset, example: Example) -> list[dict[str, Any]]:
    if example.edited_messages is not None:
        return list(example.edited_messages)
    return chunks.row_texts(dataset, [example])[example.row].messages


def _check_acceptable(dataset: Dataset, example: Example) -> None:
    try:
        checked_messages(_current_messages(dataset, example))
    except UserError as error:
        raise UserError(
            "row_unusable",
            f"Row {example.row} has no complete question and answer, so there is nothing to accept. "
            "Edit it first, or leave it out.",
            field="action",
        ) from error


def _check_ready(dataset: Dataset) -> None:
    if dataset.state != DatasetState.READY:
        raise UserError("dataset_not_ready", "The rows can be decided on once the check is done.", status=409)


def _change(
    actor: Actor, dataset: Dataset, example: Example, act: str, *, status: Status, decision: Decision, **values: Any
) -> Example:
    with transaction.atomic():
        locked = Example.objects.select_for_update().get(pk=example.pk)
        old = locked.status
        undone = decision == Decision.NONE
        Example.objects.filter(pk=example.pk).update(
            status=status,
            decision=decision,
            decided_by=None if undone else actor.user,
            decided_at=None if undone else timezone.now(),
            **values,
        )
        _move_counters(dataset, Counter({old: 1}), status)
        record(
            actor=actor,
            project=actor.project,
            act=act,
            subject=f"dataset {dataset.pk} row {example.row}",
            data={"from": old, "to": str(status)},
        )
    example.refresh_from_db()
    return example


def _move_counters(dataset: Dataset, moved: Counter[str], target: Status) -> None:
    changes: dict[str, Any] = {name: F(name) - n for name, n in moved.items() if name != target and n}
    arrived = sum(n for name, n in moved.items() if name != target)
    if arrived:
        changes[target.value] = F(target.value) + arrived
        Dataset.objects.filter(pk=dataset.pk).update(**changes)
        dataset.refresh_from_db(fields=list(Status.values))
