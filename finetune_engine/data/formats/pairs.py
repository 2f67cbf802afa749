"""Putting a preference pair together, shared by every format that has one."""

from __future__ import annotations

import re
from typing import Any

from finetune_engine.data.formats.turns import check_turns
from finetune_engine.data.records import Draft, Finding, Message


def pair_of(
    draft: Draft, prompt: list[Any], chosen: list[Any], rejected: list[Any], names: tuple[str, str, str]
) -> None:
    """Fill ``draft``: ``messages`` = prompt and better answer, ``rejected`` = the worse answer's messages.

    ``names`` are the columns of prompt, better and worse answer. Both conversations are checked as a whole, the worse
    one only for what the better one has not already shown.
    """
    asked, better, worse = names
    draft.messages, findings = checked(prompt, chosen, asked, better)
    whole, others = checked(prompt, rejected, asked, worse)
    known = {(finding.code, finding.column) for finding in findings}
    draft.findings += findings + [f for f in others if (f.code, f.column) not in known]
    if len(whole) == len(prompt) + len(rejected):
        draft.rejected = whole[len(prompt) :]


def checked(prompt: list[Any], answer: list[Any], asked: str, column: str) -> tuple[list[Message], list[Finding]]:
    """The whole conversation, and what is wrong with it, each mistake under the column it stands in."""
    findings: list[Finding] = []
    messages = check_turns([*prompt, *answer], asked, findings)
    pattern = re.compile(rf"{re.escape(asked)}\[(\d+)\]")

    def moved(match: re.Match[str]) -> str:
        place = int(match[1]) - len(prompt)
        return match[0] if place < 0 else f"{column}[{place}]"

    for finding in findings:
        finding.message = pattern.sub(moved, finding.message)
        finding.column = column if finding.column == asked else pattern.sub(moved, finding.column or column)
    return messages, findings
