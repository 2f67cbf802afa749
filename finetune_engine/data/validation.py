"""Checks on the text of rows, a batch at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from finetune_engine.data.batches import Batch
from finetune_engine.data.options import PrepareOptions
from finetune_engine.data.pii import MAY_HOLD_PII, find_pii
from finetune_engine.data.records import Finding

# Marks that tokenizers read as control tokens, whatever a person meant by them.
SPECIAL_TOKENS = (
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|eot_id|eom_id|start_header_id|end_header_id"
    r"|system|user|assistant|end|fim_prefix|fim_suffix|fim_middle|pad|endofprompt|python_tag|channel|message|return)\|>"
    r"|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<pad>|<unk>|<bos>|<eos>|\[(?:PAD|CLS|SEP|MASK|UNK)\]"
)
_SPECIAL = re.compile(SPECIAL_TOKENS)
_CHARS_PER_TOKEN = 4


def check_batch(batch: Batch, options: PrepareOptions, *, is_plain_text: bool) -> list[Finding]:
    """Everything noticed about the texts of a batch. ``is_plain_text`` rows have no input by nature."""
    frame = batch.frame.filter(pl.col("usable"))
    findings: list[Finding] = []
    findings.extend(_empty(frame, is_plain_text))
    findings.extend(_special_tokens(frame))
    findings.extend(_damaged(frame))
    findings.extend(_nul(frame))
    findings.extend(_repetitive(frame))
    if options.context_tokens:
        findings.extend(_too_long(frame, options.context_tokens))
    if options.pii:
        findings.extend(_personal(frame))
    return findings


def _rows(frame: pl.DataFrame, wanted: pl.Expr, *columns: str) -> Iterator[tuple[object, ...]]:
    yield from frame.filter(wanted).select("row", "line", *columns).iter_rows()


def _empty(frame: pl.DataFrame, is_plain_text: bool) -> Iterator[Finding]:
    if not is_plain_text:
        for row, line in _rows(frame, pl.col("prompt_norm") == ""):
            fix = "Write the input, or remove the row."
            yield Finding(
                "empty_input", f"has no input. {fix}", column="prompt", found="nothing", expected="text", fix=fix
            ).placed(row, line)  # type: ignore[arg-type]
    for row, line in _rows(frame, pl.col("answer_norm") == ""):
        fix = "Write the answer, or remove the row."
        yield Finding(
            "empty_answer", f"has no answer. {fix}", column="answer", found="nothing", expected="text", fix=fix
        ).placed(row, line)  # type: ignore[arg-type]


def _special_tokens(frame: pl.DataFrame) -> Iterator[Finding]:
    for column in ("prompt", "answer"):
        for row, line, text in _rows(frame, pl.col(column).str.contains(SPECIAL_TOKENS), column):
            match = _SPECIAL.search(str(text))
            if match is None:
                continue
            part = "input" if column == "prompt" else "answer"
            yield Finding(
                "special_token_text",
                f"has “{match.group()}” in its {part}, which a model may read as a control mark.",
                column=column,
                start=match.start(),
                end=match.end(),
                found=match.group(),
                fix="Remove it unless the text is about such marks.",
            ).placed(row, line)  # type: ignore[arg-type]


def _damaged(frame: pl.DataFrame) -> Iterator[Finding]:
    for column in ("prompt", "answer"):
        for row, line, text in _rows(frame, pl.col(column).str.contains("\ufffd", literal=True), column):
            at = str(text).index("\ufffd")
            yield Finding(
                "damaged_text",
                "has the mark “\ufffd”, which stands for a character that was lost. Mend it from the source.",
                column=column,
                start=at,
                end=at + 1,
                found="\ufffd",
                expected="the character that was lost",
                fix="Mend it from the source.",
            ).placed(row, line)  # type: ignore[arg-type]


def _nul(frame: pl.DataFrame) -> Iterator[Finding]:
    for column in ("prompt", "answer"):
        for row, line, text in _rows(frame, pl.col(column).str.contains("\0", literal=True), column):
            at = str(text).index("\0")
            yield Finding(
                "nul_byte",
                f"has an empty (NUL) character in its {'input' if column == 'prompt' else 'answer'}. Remove it.",
                column=column,
                start=at,
                end=at + 1,
                found="a NUL character",
                fix="Remove the character.",
            ).placed(row, line)  # type: ignore[arg-type]


def _repetitive(frame: pl.DataFrame) -> Iterator[Finding]:
    # A text that says the same over and over has few different words: a cheap test before the real one.
    few = pl.col("answer_norm").str.split(" ").list.n_unique() < 0.4 * pl.col("answer_words")
    for row, line, text in _rows(frame.filter(pl.col("answer_words") >= 30), few, "answer_norm"):
        words = str(text).split()
        if len(words) < 30:
            continue
        triples = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
        if len(set(triples)) < 0.2 * len(triples):
            yield Finding(
                "repetition",
                "has an answer that says the same words over and over. Check it.",
                column="answer",
                found=f"{len(set(triples))} different groups of three words out of {len(triples)}",
                fix="Shorten the answer, or remove the row.",
            ).placed(row, line)  # type: ignore[arg-type]


def _too_long(frame: pl.DataFrame, tokens: int) -> Iterator[Finding]:
    long = pl.col("messages").str.len_chars() > tokens * _CHARS_PER_TOKEN
    sizes = pl.col("messages").str.len_chars() // _CHARS_PER_TOKEN
    for row, line, size in frame.filter(long).select("row", "line", sizes).iter_rows():
        yield Finding(
            "too_long",
            f"is about {size} tokens long; most models would cut it after {tokens}. Split or shorten it.",
            found=f"about {size} tokens",
            expected=f"at most {tokens} tokens",
            fix="Split or shorten it.",
        ).placed(row, line)


def _personal(frame: pl.DataFrame) -> Iterator[Finding]:
    for column in ("prompt", "answer"):
        for row, line, text in _rows(frame, pl.col(column).str.contains(MAY_HOLD_PII), column):
            for span in find_pii(str(text)):
                yield pii_finding(span.kind, column, span.start, span.end).placed(row, line)  # type: ignore[arg-type]
    earlier = (pl.col("turns") > 2) & pl.col("setting").str.contains(MAY_HOLD_PII)
    for row, line, text in _rows(frame, earlier, "setting"):
        for kind in sorted({span.kind for span in find_pii(str(text))}):
            yield pii_finding(kind, "messages", None, None).placed(row, line)  # type: ignore[arg-type]


_KIND_NAMES = {
    "email": "an e-mail address", "phone": "a telephone number", "card": "a payment card number",
    "iban": "a bank account number (IBAN)", "ip": "an internet address (IP)", "us_ssn": "a US social security number",
    "url_credentials": "a web address with a password", "secret": "a password or key",
}  # fmt: skip


def pii_finding(kind: str, column: str, start: int | None, end: int | None) -> Finding:
    """The finding for personal data of ``kind``; the value itself is never in it."""
    part = {"prompt": "its input", "answer": "its answer"}.get(column, "an earlier turn")
    return Finding(
        "pii",
        f"has {_KIND_NAMES[kind]} in {part}. Decide whether to mask it.",
        column=column,
        start=start,
        end=end,
        found=kind,
        fix="Mask it, or keep it if the model must learn it.",
    )


def short_texts(frame: pl.DataFrame, options: PrepareOptions) -> Iterator[Finding]:
    """Inputs and answers below the least number of words. Only for tasks whose answers are not labels."""
    for column, code, least in (
        ("prompt", "prompt_too_short", options.min_prompt_words),
        ("answer", "completion_too_short", options.min_completion_words),
    ):
        words = pl.col(f"{column}_words")
        for row, line, count in _rows(frame, pl.col("usable") & (words > 0) & (words < least), f"{column}_words"):
            part = "input" if column == "prompt" else "answer"
            yield Finding(
                code,
                f"has an {part} of {count} word{'s' if count != 1 else ''}; fewer than {least} teach little.",
                column=column,
                found=f"{count} words",
                expected=f"at least {least} words",
                fix=f"Write a fuller {part}, or keep it if short ones are meant.",
            ).placed(row, line)  # type: ignore[arg-type]
