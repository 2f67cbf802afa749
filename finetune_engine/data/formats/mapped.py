"""Reading a row by a column mapping, shared by every format made of plain columns."""

from __future__ import annotations

from string import Formatter

from finetune_engine.data.formats.row_format import Row, as_text, conversation, leftovers, split_name, text_at
from finetune_engine.data.records import Draft, Finding, Mapping, quoted


def convert_mapped(row: Row, mapping: Mapping | None, *, is_label: bool = False) -> Draft:
    """The example in a row. ``is_label`` also keeps the answer as the label, spelling untouched.

    Several prompt columns are joined by the mapping's template, or by an empty line with blank ones left out. Every
    column that has no part becomes metadata, and so does the group column.
    """
    if mapping is None:
        raise ValueError("a format of plain columns needs a mapping")
    draft = Draft()
    missing = [c for c in (*mapping.prompt[:1], mapping.completion) if c not in row]
    if missing:
        draft.findings.append(_missing(missing[0], row))
        return draft
    parts = [text_at(row, column, draft.findings) for column in mapping.prompt]
    prompt = _joined(mapping, parts)
    answer = text_at(row, mapping.completion, draft.findings)
    system = text_at(row, mapping.system, draft.findings) if mapping.system else ""
    if draft.findings:
        return draft
    draft.messages = conversation(prompt, answer, system)
    if len(parts) > 1 and prompt != parts[0] and prompt.startswith(parts[0]):
        draft.instruction = parts[0]
    if is_label:
        draft.label = answer
    elif mapping.label:
        draft.label = text_at(row, mapping.label, draft.findings) or None
    keep = mapping.metadata
    if keep is not None and mapping.group and mapping.group not in keep:
        keep = (*keep, mapping.group)
    draft.metadata = leftovers(row, mapping.used(), keep)
    if mapping.split:
        draft.split = split_name(row.get(mapping.split))
        if draft.split is None and row.get(mapping.split) not in (None, ""):
            draft.metadata[mapping.split] = row[mapping.split]
    if mapping.group:
        draft.group = as_text(row.get(mapping.group)) or None
    return draft


def _joined(mapping: Mapping, parts: list[str]) -> str:
    """The prompt from the texts of its columns."""
    if mapping.prompt_template is not None:
        texts = dict(zip(mapping.prompt, parts, strict=True))
        pieces = Formatter().parse(mapping.prompt_template)
        return "".join(text + (texts.get(name, "") if name else "") for text, name, _, _ in pieces).strip()
    return parts[0] if len(parts) == 1 else "\n\n".join(part for part in parts if part.strip())


def _missing(column: str, row: Row) -> Finding:
    found = ", ".join(list(row)[:8]) or "nothing"
    return Finding(
        "message_missing_key",
        f"has no {quoted(column)}; it has {found}. Add it, as in the other rows.",
        column=column,
        found=found,
        expected=column,
        fix=f"Add {quoted(column)}.",
    )
