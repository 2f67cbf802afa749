"""Every finding code, with the status it gives its row. One table, so that no check decides on its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["accepted", "flagged", "needs_review", "rejected"]
Severity = Literal["info", "warning", "error"]

STATUSES: tuple[Status, ...] = ("accepted", "flagged", "needs_review", "rejected")
RANK: dict[str, int] = {status: rank for rank, status in enumerate(STATUSES)}
_SEVERITY: dict[Status, Severity] = {
    "accepted": "info",
    "flagged": "warning",
    "needs_review": "warning",
    "rejected": "error",
}


@dataclass(frozen=True)
class Code:
    """One kind of finding. ``title`` is for people; ``status`` is what a row with it becomes by default."""

    name: str
    status: Status
    title: str

    @property
    def severity(self) -> Severity:
        """How loudly to say it."""
        return _SEVERITY[self.status]


_TABLE: tuple[Code, ...] = (
    # The row itself.
    Code("invalid_json", "rejected", "Not valid JSON"),
    Code("trailing_comma", "flagged", "A comma too many at the end of the list"),
    Code("duplicate_key", "needs_review", "The same name twice in one row"),
    Code("data_type", "rejected", "Not the kind of value that was expected"),
    Code("encoding", "rejected", "Characters that could not be read"),
    Code("damaged_text", "flagged", "Text that was damaged before it arrived"),
    Code("nul_byte", "rejected", "An empty (NUL) character inside the text"),
    Code("line_too_large", "rejected", "A row too large to read"),
    Code("ragged_row", "rejected", "A row with more or fewer cells than the header"),
    Code("unclosed_quote", "rejected", "A quote that is opened and never closed"),
    # The shape of a conversation.
    Code("missing_messages_list", "rejected", "No list of messages"),
    Code("message_missing_key", "rejected", "A field is missing"),
    Code("message_unrecognized_key", "flagged", "A message with a field we do not know"),
    Code("unrecognized_role", "rejected", "A role we do not know"),
    Code("missing_content", "rejected", "A message without content"),
    Code("example_missing_assistant_message", "rejected", "No answer from the assistant"),
    Code("last_not_assistant", "rejected", "The conversation does not end with the assistant"),
    Code("roles_not_alternating", "flagged", "Two turns by the same side in a row"),
    Code("tool_arguments_invalid", "rejected", "Tool arguments that are not valid JSON"),
    Code("mixed_formats", "flagged", "A row in another format than the rest"),
    # The text.
    Code("empty_input", "rejected", "No input"),
    Code("empty_answer", "rejected", "No answer"),
    Code("prompt_too_short", "flagged", "A very short input"),
    Code("completion_too_short", "flagged", "A very short answer"),
    Code("prompt_truncated", "flagged", "A long input that was cut"),
    Code("too_long", "flagged", "Longer than the model reads"),
    Code("special_token_text", "flagged", "Text that looks like a model's control mark"),
    Code("repetition", "needs_review", "The same words over and over"),
    Code("pii", "flagged", "Personal or secret data"),
    Code("chosen_equals_rejected", "rejected", "The better and the worse answer are the same"),
    # The row beside the others.
    Code("duplicate_exact", "rejected", "The same example again"),
    Code("duplicate_near", "needs_review", "Almost the same example again"),
    Code("contradiction", "needs_review", "The same input with another answer"),
    Code("label_variants", "needs_review", "A rare spelling of a label"),
    Code("proposed", "needs_review", "Proposed by a person, not yet decided on"),
    Code("language_mismatch", "flagged", "Another language than the rest"),
    Code("inconsistent_format", "flagged", "An answer in another form than the rest"),
    # The set, and its parts.
    Code("class_imbalance", "accepted", "A label with far fewer rows than another"),
    Code("split_leak", "flagged", "The same or almost the same example in two splits"),
)

CODES: dict[str, Code] = {code.name: code for code in _TABLE}


def worse(first: str, second: str) -> str:
    """The graver of two statuses."""
    return first if RANK[first] >= RANK[second] else second


def status_of(code: str) -> Status:
    """The default status of a row with this finding. KeyError for a code that is not in the table."""
    return CODES[code].status
