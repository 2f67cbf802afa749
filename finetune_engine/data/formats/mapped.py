"""Reading a row by a column mapping, shared by every format made of plain columns."""

from __future__ import annotations

from finetune_engine.data.formats.row_format import Row, conversation, leftovers, split_name, text_at
from finetune_engine.data.records import Draft, Finding, Mapping, quoted


def convert_mapped(row: Row, mapping: Mapping | None, *, is_label: bool = False) -> Draft:
    """The example in a row. ``is_label`` also keeps the answer as the label, spelling untouched.

    Several prompt columns are joined by an empty line, blank ones left out.
    """
    if mapping is None:
        raise ValueError("a format of plain columns needs a mapping")
    draft = Draft()
    missing = [c for c in (*mapping.prompt[:1], mapping.completion) if c not in row]
    if missing:
        draft.findings.append(_missing(missing[0], row))
        return draft
    parts = [text_at(row, column, draft.findings) for column in mapping.prompt]
    prompt = parts[0] if len(parts) == 1 else "\n\n".join(part for part in parts if part.strip())
    answer = text_at(row, mapping.completion, draft.findings)
    system = text_at(row, mapping.system, draft.findings) if mapping.system else ""
    if draft.findings:
        return draft
    draft.messages = conversation(prompt, answer, system)
    if len(parts) > 1 and prompt != parts[0]:
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
    return draft


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
