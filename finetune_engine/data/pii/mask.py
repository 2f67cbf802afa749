"""Masking: each value becomes a mark such as ``[EMAIL_1]``, the same value always the same mark within a row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_engine.data.message_texts import change_all, change_values
from finetune_engine.data.pii.find import find_pii
from finetune_engine.data.pii.policy import Policy
from finetune_engine.data.records import Message


@dataclass
class Masked:
    """A row after the policy. ``messages`` and ``rejected`` are new; no value is in the other fields.

    ``masked`` counts the places masked per kind. ``reject`` names the kinds for which the row must be left out, and
    ``kept`` those that were found and stay on purpose. ``beside`` are the values that came with the row.
    """

    messages: list[Message]
    rejected: list[Message] = field(default_factory=list)
    beside: dict[str, Any] = field(default_factory=dict)
    masked: Counter[str] = field(default_factory=Counter)
    reject: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)


def mask_messages(
    messages: Sequence[Message],
    policy: Policy,
    *,
    rejected: Sequence[Message] = (),
    beside: Mapping[str, Any] | None = None,
) -> Masked:
    """Apply ``policy`` to every text of a row: all messages, tool arguments, and the worse answer of a pair.

    ``beside`` is what else is kept of the row, by name (label, other columns): it gets the same marks for the same
    values. A row is never left out because of it: what would be a reason in a message is masked there.
    """
    masker = _Masker(policy, _highest_marks([*messages, *rejected]))
    changed = change_all(messages, masker.mask)
    worse = change_all(rejected, masker.mask)
    reject = set(masker.reject)
    others = {name: change_values(value, name, masker.mask) for name, value in (beside or {}).items()}
    return Masked(changed, worse, others, masker.masked, reject, masker.kept)


def mask_text(text: str, policy: Policy) -> str:
    """One text with the kinds masked that ``policy`` masks. Numbers start at 1."""
    return str(mask_messages([{"content": text}], policy).messages[0]["content"])


def context_of(name: str) -> str:
    """The name of a value as words before it: ``phoneNumber`` gives ``"phone Number: "``, "" nothing."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name[:100])
    return f"{words}: " if words else ""


class _Masker:
    """Remembers which value of a row got which mark."""

    def __init__(self, policy: Policy, highest: Counter[str]) -> None:
        self._policy = policy
        self._highest = highest
        self._marks: dict[tuple[str, str], str] = {}
        self.masked: Counter[str] = Counter()
        self.reject: set[str] = set()
        self.kept: set[str] = set()

    def mask(self, text: str, name: str) -> str:
        """``text`` with marks. ``name`` is what it stands under in tool arguments, read as its context."""
        context = context_of(name)
        out: list[str] = []
        at = 0
        for span in find_pii(context + text):
            start, end = span.start - len(context), span.end - len(context)
            if start < 0:
                continue
            action = self._policy.get(span.kind, "mask")
            if action == "keep":
                self.kept.add(span.kind)
                continue
            if action == "reject":
                self.reject.add(span.kind)
            out += [text[at:start], self._mark(span.kind, text[start:end])]
            at = end
            if action == "mask":
                self.masked[span.kind] += 1
        return "".join([*out, text[at:]]) if out else text

    def _mark(self, kind: str, value: str) -> str:
        key = (kind, _same(kind, value))
        if key not in self._marks:
            self._highest[kind] += 1
            self._marks[key] = f"[{kind.upper()}_{self._highest[kind]}]"
        return self._marks[key]


def _same(kind: str, value: str) -> str:
    """What two spellings of one value have in common."""
    if kind in ("secret", "url_credentials"):
        return value
    if kind in ("email", "ip"):
        return value.casefold()
    if kind == "name":
        return " ".join(value.casefold().split())
    return re.sub(r"[\W_]", "", value).casefold()


_MARK = re.compile(r"\[(EMAIL|PHONE|CARD|IBAN|IP|US_SSN|NATIONAL_ID|URL_CREDENTIALS|SECRET|NAME)_(\d{1,6})\]")


def _highest_marks(messages: Sequence[Message]) -> Counter[str]:
    """The greatest number of each mark that is already in the texts, so that new ones do not meet an old one."""
    highest: Counter[str] = Counter()

    def look(text: str, _: str) -> str:
        for kind, number in _MARK.findall(text) if "[" in text else ():
            highest[kind.lower()] = max(highest[kind.lower()], int(number))
        return text

    change_all(messages, look)
    return highest
