"""A row as a card shows it: the conversation with what was found marked in it, the fields of an edit, and what an edit
changes and still has against it. Nothing here reads the database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.utils.translation import gettext as _

from datasets_app.choices import TaskType, code_title
from datasets_app.models import Dataset
from datasets_app.queries.rows import ExampleRow
from datasets_app.row_messages import checked_messages
from datasets_app.word_diff import Piece, clipped, word_diff
from finetune_engine.errors import UserError

MOST_MARKS = 200
_PLACE = re.compile(r"(messages|rejected)\[(\d{1,4})\]\.content")
Message = dict[str, Any]


class Placed(Protocol):
    """What findings of the database and of the engine have in common."""

    code: str

    @property
    def column(self) -> str | None:
        """Where: ``prompt``, ``answer`` or ``messages[2].content``."""

    @property
    def start(self) -> int | None:
        """First character of what was found."""

    @property
    def end(self) -> int | None:
        """The character behind it."""


@dataclass(frozen=True)
class MarkedPiece:
    """A stretch of text; ``mark`` says in plain words what was found there, empty for nothing."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Bubble:
    """One message. ``calls`` are the tools that it asks for: name and arguments."""

    role: str
    who: str
    pieces: list[MarkedPiece]
    calls: list[tuple[str, str]]


@dataclass(frozen=True)
class EditField:
    """One text that can be changed. ``is_label`` is a label that is chosen from the known ones."""

    name: str
    who: str
    text: str
    rows: int
    is_label: bool


@dataclass(frozen=True)
class Noted:
    """Something that speaks against a text, in plain words."""

    code: str
    title: str
    sentence: str


@dataclass(frozen=True)
class ChangedText:
    """One message before and after, word by word."""

    who: str
    pieces: list[Piece]


@dataclass(frozen=True)
class EditCheck:
    """What an edit changes against the original, and what still speaks against it. ``refusal`` is why it cannot be
    saved at all."""

    changes: list[ChangedText]
    noted: list[Noted]
    refusal: str = ""

    @property
    def seen(self) -> str:
        """What a person has seen when they save all the same; changes when something else is found."""
        return " ".join(sorted({note.code for note in self.noted}))


def who_says(message: Message, dataset: Dataset) -> str:
    """The speaker in plain words."""
    role = message.get("role")
    if role == "user":
        return _("Input")
    if role == "assistant":
        return _("Label") if dataset.task_type == TaskType.CLASSIFICATION else _("Answer")
    if role in {"system", "developer"}:
        return _("Instructions")
    return _("Result of a tool") if role == "tool" else str(role)


def bubbles(
    dataset: Dataset, messages: Sequence[Message], findings: Iterable[Placed] = (), *, name: str = "messages"
) -> list[Bubble]:
    """The conversation with the places of the findings marked. ``name`` is ``rejected`` for a worse answer."""
    marks = _marks_by_message(messages, findings, name)
    return [
        Bubble(
            role=str(message.get("role")),
            who=who_says(message, dataset),
            pieces=_marked(_text(message), marks.get(number, [])),
            calls=_calls(message),
        )
        for number, message in enumerate(messages)
    ]


def conversation(dataset: Dataset, row: ExampleRow) -> list[Bubble]:
    """The row as the model will see it. An edited row is looked at again: what was found in the original is elsewhere
    by now."""
    if row.example.edited_messages is None:
        return bubbles(dataset, row.messages, row.findings)
    return bubbles(dataset, row.messages, recheck(dataset, row, row.messages))


def worse_answer(dataset: Dataset, row: ExampleRow) -> list[Bubble]:
    """The answer that a preference row holds as the worse one; empty for other rows."""
    return bubbles(dataset, rejected_messages(row), row.findings, name="rejected")


def rejected_messages(row: ExampleRow) -> list[Message]:
    """The messages of the worse answer."""
    found = getattr(row.text, "rejected", None)
    if isinstance(found, str):
        found = json.loads(found)
    return list(found or [])


def editable(row: ExampleRow) -> list[Message]:
    """The messages that an edit begins with; of a row that could not be read, an empty question and answer."""
    return list(row.messages) or [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]


def edit_fields(dataset: Dataset, messages: Sequence[Message]) -> list[EditField]:
    """The texts that can be changed, in order."""
    fields = []
    for number, message in enumerate(messages):
        text = message.get("content")
        if not isinstance(text, str):
            continue
        is_last = number == len(messages) - 1
        is_label = is_last and dataset.task_type == TaskType.CLASSIFICATION and message.get("role") == "assistant"
        is_label = is_label and "\n" not in text
        lines = sum(1 + len(line) // 80 for line in text.split("\n")[:40])
        fields.append(
            EditField(f"text-{number}", who_says(message, dataset), text, max(3, min(16, lines + 1)), is_label)
        )
    return fields


def typed_messages(messages: Sequence[Message], typed: Mapping[str, Any]) -> list[Message]:
    """The messages with the texts of a form (``text-0``...); what is not in the form stays."""
    out = []
    for number, message in enumerate(messages):
        text = typed.get(f"text-{number}")
        if isinstance(text, str) and isinstance(message.get("content"), str):
            text = _as_sent(text)
            message = message if text == _as_sent(message["content"]) else message | {"content": text}
        out.append(message)
    return out


def _as_sent(text: str) -> str:
    """The text as a browser gives it back untouched: line ends and NUL are not what they were, and no change."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def check_edit(dataset: Dataset, row: ExampleRow, messages: Sequence[Message]) -> EditCheck:
    """What these messages change against the original, and what still speaks against them."""
    changes = changed_texts(dataset, row.text.messages, messages)
    try:
        clean = checked_messages(list(messages), is_plain_text=dataset.is_plain_text)
    except UserError as error:
        return EditCheck(changes, [], error.sentence)
    noted = [Noted(f.code, code_title(f.code), _sentence(f.message)) for f in recheck(dataset, row, clean)]
    if note := _unknown_label(dataset, str(clean[-1]["content"])):
        noted.append(note)
    return EditCheck(changes, list({(note.code, note.sentence): note for note in noted}.values()))


def changed_texts(dataset: Dataset, before: Sequence[Message], after: Sequence[Message]) -> list[ChangedText]:
    """The messages that differ, word by word, long unchanged stretches cut short."""
    changes = []
    for number in range(max(len(before), len(after))):
        old = _text(before[number]) if number < len(before) else ""
        new = _text(after[number]) if number < len(after) else ""
        if old != new:
            message = after[number] if number < len(after) else before[number]
            changes.append(ChangedText(who_says(message, dataset), clipped(word_diff(old, new))))
    return changes


def recheck(dataset: Dataset, row: ExampleRow, messages: Sequence[Message]) -> list[Any]:
    """The findings of the checks that need no other row."""
    from finetune_engine.data.validation import check_messages

    rejected = rejected_messages(row) or None
    task, is_plain_text = str(dataset.task_type), dataset.is_plain_text
    return list(check_messages(list(messages), task_type=task, rejected=rejected, is_plain_text=is_plain_text))


def _unknown_label(dataset: Dataset, label: str) -> Noted | None:
    if dataset.task_type != TaskType.CLASSIFICATION or not dataset.labels or label in dataset.labels:
        return None
    sentence = _("No other row has the label “%(label)s”. Is it spelled as the others are?") % {"label": label[:100]}
    return Noted("new_label", _("A new label"), sentence)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("Row ") else _("The row %(says)s") % {"says": text}


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):  # parts, of which the texts are shown
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _calls(message: Message) -> list[tuple[str, str]]:
    calls = message.get("tool_calls")
    out = []
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            given = function.get("arguments")
            out.append((str(function.get("name", "")), given if isinstance(given, str) else json.dumps(given)))
    return out


def _marks_by_message(
    messages: Sequence[Message], findings: Iterable[Placed], name: str
) -> dict[int, list[tuple[int, int, str]]]:
    places = {}
    if name == "messages":
        places["answer"] = len(messages) - 1
        questions = [n for n, message in enumerate(messages[:-1]) if message.get("role") == "user"]
        places["prompt"] = questions[-1] if questions else 0
    marks: dict[int, list[tuple[int, int, str]]] = {}
    for finding in findings:
        column = finding.column or ""
        path = _PLACE.fullmatch(column)
        number = int(path.group(2)) if path and path.group(1) == name else places.get(column)
        if number is None or finding.start is None or finding.end is None:
            continue
        marks.setdefault(number, []).append((finding.start, finding.end, _mark_words(finding)))
    return marks


def _mark_words(finding: Placed) -> str:
    if finding.code == "pii":
        from finetune_engine.data.pii import KIND_NAMES

        kind = str(getattr(finding, "kind", "") or "")
        return KIND_NAMES.get(kind, code_title("pii"))
    return code_title(finding.code)


def _marked(text: str, marks: list[tuple[int, int, str]]) -> list[MarkedPiece]:
    """The text in pieces. Marks that overlap an earlier one or lie outside are passed over."""
    pieces, at = [], 0
    for start, end, words in sorted(marks)[:MOST_MARKS]:
        if not at <= start < end <= len(text):
            continue
        if start > at:
            pieces.append(MarkedPiece(text[at:start]))
        pieces.append(MarkedPiece(text[start:end], words))
        at = end
    return [*pieces, MarkedPiece(text[at:])] if at < len(text) or not pieces else pieces
