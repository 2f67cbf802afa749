"""What can be said of one row by looking at its texts alone. Plain Python, for rows that may have something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from finetune_engine.data.message_texts import argument_texts, prompt_place, written_texts
from finetune_engine.data.pii import KIND_NAMES, context_of, find_pii
from finetune_engine.data.records import Finding, Message

# Marks that tokenizers read as control tokens, whatever a person meant by them.
SPECIAL_TOKENS = (
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|eot_id|eom_id|start_header_id|end_header_id"
    r"|system|user|assistant|end|fim_prefix|fim_suffix|fim_middle|pad|endofprompt|python_tag|channel|message|return)\|>"
    r"|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<pad>|<unk>|<bos>|<eos>|\[(?:PAD|CLS|SEP|MASK|UNK)\]"
)
_SPECIAL = re.compile(SPECIAL_TOKENS)
# For the Rust engine, over messages as JSON text: special tokens, characters that were lost, NUL.
MAY_BE_ODD = SPECIAL_TOKENS + "|\ufffd|" + r"\\u0000"
LEAST_WORDS = 30
_LEAST_CHARACTERS = 100
_DIFFERENT = 0.2


def places(messages: Sequence[Message], name: str = "messages") -> Iterator[tuple[str, str]]:
    """``(column, text)``: ``prompt`` for the input, ``answer`` for the answer, a path for everything else."""
    special = {}
    if name == "messages" and messages:
        special = {f"messages[{len(messages) - 1}].content": "answer"}
        if (place := prompt_place(messages)) is not None:
            special[f"messages[{place}].content"] = "prompt"
    for path, text in written_texts(messages, name):
        yield special.get(path, path), text


def part_name(column: str) -> str:
    """The part of a row that a column names, for a sentence."""
    if column in ("prompt", "answer"):
        return "its input" if column == "prompt" else "its answer"
    if column.startswith("rejected"):
        return "its worse answer"
    return "the arguments of a tool" if column.endswith(".tool_calls") else "another message"


def odd_texts(messages: Sequence[Message], name: str = "messages") -> Iterator[Finding]:
    """Control marks of models, lost characters and NUL characters: the first of each kind in every text."""
    for column, text in places(messages, name):
        if (match := _SPECIAL.search(text)) is not None:
            yield Finding(
                "special_token_text",
                f"has “{match.group()}” in {part_name(column)}, which a model may read as a control mark.",
                column=column,
                start=match.start(),
                end=match.end(),
                found=match.group(),
                fix="Remove it unless the text is about such marks.",
            )
        if (at := text.find("\ufffd")) >= 0:
            yield Finding(
                "damaged_text",
                f"has the mark “\ufffd” in {part_name(column)}, which stands for a character that was lost.",
                column=column,
                start=at,
                end=at + 1,
                found="\ufffd",
                expected="the character that was lost",
                fix="Mend it from the source.",
            )
        if (at := text.find("\0")) >= 0:
            yield Finding(
                "nul_byte",
                f"has an empty (NUL) character in {part_name(column)}. Remove it.",
                column=column,
                start=at,
                end=at + 1,
                found="a NUL character",
                fix="Remove the character.",
            )


def garbled(column: str, text: str) -> Iterator[Finding]:
    """Text that was read in the wrong encoding and that cleaning did not mend."""
    if text.isascii():
        return
    from ftfy.badness import BADNESS_RE

    if (match := BADNESS_RE.search(text)) is not None:
        yield Finding(
            "damaged_text",
            f"has letters in {part_name(column)} that look as if they were read in the wrong encoding.",
            column=column,
            start=match.start(),
            end=match.end(),
            found=match.group(),
            expected="readable letters",
            fix="Mend it from the source, or keep it if it is meant.",
        )


def empty_parts(messages: Sequence[Message], *, is_plain_text: bool) -> Iterator[Finding]:
    """No input, or no answer. Plain text has no input by nature."""
    place = prompt_place(messages)
    if not is_plain_text and (place is None or not str(messages[place].get("content") or "").strip()):
        yield empty("prompt")
    last = messages[-1]
    calls = last.get("tool_calls") or last.get("function_call")
    if not calls and not str(last.get("content") or "").strip():
        yield empty("answer")


def empty(column: str) -> Finding:
    """The finding for a row whose ``prompt`` or ``answer`` is empty."""
    part = "input" if column == "prompt" else "answer"
    fix = f"Write the {part}, or remove the row."
    return Finding(f"empty_{part}", f"has no {part}. {fix}", column=column, found="nothing", expected="text", fix=fix)


def repetition(answer: str) -> Iterator[Finding]:
    """An answer of at least thirty words, of which the same three follow each other over and over."""
    words = answer.lower().split()
    # Scripts without blanks: few "words" for many letters. Six letters then stand for three words.
    by_letters = len(answer) > 25 * len(words)
    units: Sequence[str] = answer if by_letters else words
    size = 6 if by_letters else 3
    if len(units) < (_LEAST_CHARACTERS if by_letters else LEAST_WORDS):
        return
    total = len(units) - size + 1
    # Every word but the last ones begins a group, so there are hardly fewer groups than words: most texts are done here.
    if len(set(units)) - size + 1 >= _DIFFERENT * total:
        return
    different = len({tuple(units[i : i + size]) for i in range(total)})
    if different < _DIFFERENT * total:
        what = "letters" if by_letters else "words"
        yield Finding(
            "repetition",
            "has an answer that says the same over and over. Check it.",
            column="answer",
            found=f"{different} different groups of {size} {what} out of {total}",
            fix="Shorten the answer, or remove the row.",
        )


def short_text(column: str, words: int, least: int) -> Iterator[Finding]:
    """An input or answer of some, but fewer than ``least`` words."""
    if not 0 < words < least:
        return
    part = "input" if column == "prompt" else "answer"
    yield Finding(
        "prompt_too_short" if column == "prompt" else "completion_too_short",
        f"has an {part} of {words} word{'s' if words != 1 else ''}; fewer than {least} teach little.",
        column=column,
        found=f"{words} words",
        expected=f"at least {least} words",
        fix=f"Write a fuller {part}, or keep it if short ones are meant.",
    )


def too_long(tokens: int, limit: int, *, estimated: bool) -> Finding:
    """A row longer than the model reads, in tokens."""
    size = f"{'about ' if estimated else ''}{tokens} tokens"
    return Finding(
        "too_long",
        f"is {size} long; the model reads at most {limit}. Split or shorten it.",
        found=size,
        expected=f"at most {limit} tokens",
        fix="Split or shorten it.",
    )


def same_answers(messages: Sequence[Message], rejected: Sequence[Message]) -> Iterator[Finding]:
    """A preference pair whose better answer says the same as the worse one."""
    better = messages[-len(rejected) :] if rejected else messages[-1:]
    if rejected and [_plain(m) for m in better] == [_plain(m) for m in rejected]:
        yield chosen_equals_rejected()


def chosen_equals_rejected() -> Finding:
    """The finding for a preference pair of two equal answers."""
    return Finding(
        "chosen_equals_rejected",
        "has the same text as better and as worse answer, so there is nothing to prefer.",
        column="rejected",
        found="the same text twice",
        expected="two answers that differ",
        fix="Correct one of them, or remove the row.",
    )


def _plain(message: Message) -> tuple[str, Any]:
    return " ".join(str(message.get("content") or "").split()), message.get("tool_calls")


def personal_data(messages: Sequence[Message], rejected: Sequence[Message] = ()) -> Iterator[Finding]:
    """Every place with personal data or a secret, by kind and position. The value itself is never in a finding."""
    for name, part in (("messages", messages), ("rejected", rejected)):
        for column, text in places(part, name):
            for span in find_pii(text):
                yield pii_finding(span.kind, column, span.start, span.end)
        seen: set[tuple[str, str]] = set()
        for path, text, key in argument_texts(part, name):
            context = context_of(key)
            for span in find_pii(context + text):
                if span.start >= len(context) and (path, span.kind) not in seen:
                    seen.add((path, span.kind))
                    yield pii_finding(span.kind, path, None, None)


def pii_finding(kind: str, column: str, start: int | None, end: int | None) -> Finding:
    """The finding for personal data of ``kind``; the value itself is never in it."""
    return Finding(
        "pii",
        f"has {KIND_NAMES[kind]} in {part_name(column)}. Decide whether to mask it.",
        column=column,
        start=start,
        end=end,
        found=kind,
        fix="Mask it, or keep it if the model must learn it.",
        kind=kind,
    )
