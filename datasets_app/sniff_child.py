"""A first look at an upload, in a process of its own: ``python -m datasets_app.sniff_child PATH NAME``.

The options come as JSON on standard input: rules for cleaning may hold names, which no list of processes shall show.

Whatever a hostile file does to a parser, it does to this child, which may use little memory and little time, and has no
network where the kernel allows that.
Prints one JSON object: ``{"preview": ...}`` or ``{"error": {...}}``. Imports neither Django nor torch.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from work_kit.child import leave_network, limit_memory

MEMORY_BYTES = 3 * 2**30  # address space; thread pools reserve much more than they use
CPU_SECONDS = 20
COUNTED_BYTES = 64 << 20
LONGEST_TEXT = 2_000
MOST_ITEMS = 400
_LINE_TYPES = ("jsonl", "csv", "tsv")


def main(path: Path, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The answer for one file."""
    leave_network()
    limit_memory(MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    from finetune_engine.data.readers import sniff
    from finetune_engine.errors import UserError

    try:
        preview = sniff(path, name, options)
    except UserError as error:
        return {"error": {**shortened(error.as_dict()), "status": error.status}}
    except RecursionError:
        return {"error": {"code": "too_deep", "message": f"{name} is nested too deeply to be read.", "status": 422}}
    lines = _line_count(path) if _is_plain(path, preview.file_type) else None
    answer = asdict(preview)
    answer["rows"] = [_judged(row, options, preview.format) for row in answer["rows"]]
    return {"preview": shortened(answer) | {"lines": lines}}


def _judged(row: dict[str, Any], options: dict[str, Any], format_name: str | None) -> dict[str, Any]:
    """The row as the model will see it (cleaned), with the status that the row by itself would get, and why."""
    from finetune_engine.data.cleaning import clean_messages, read_plan
    from finetune_engine.data.codes import status_of, worse
    from finetune_engine.data.validation import check_messages

    if not row["messages"]:
        return row | {"status": "rejected", "reasons": [row["problem"]] if row["problem"] else []}
    plan = read_plan({key: options[key] for key in ("cleaning", "replacements", "boilerplate") if key in options})
    messages, steps = clean_messages(row["messages"], plan)
    task_type = str(options.get("task_type") or "auto")
    worse_answer = row.get("rejected") or None
    findings = check_messages(
        messages,
        task_type="chat" if task_type == "auto" else task_type,
        rejected=worse_answer,
        row=row["row"],
        is_plain_text=format_name == "text",
    )
    status = "accepted"
    for finding in findings:
        status = worse(status, status_of(finding.code))
    reasons = [finding.message for finding in findings]
    if row["problem"] and row["problem"] not in reasons:
        reasons.insert(0, row["problem"])
    return row | {"messages": messages, "status": status, "reasons": reasons, "cleaned": steps}


def shortened(value: Any) -> Any:
    """The same value with long texts and lists cut: a preview is kept in the database and shown on one page."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in list(value.items())[:MOST_ITEMS]}
    if isinstance(value, list):
        return [shortened(item) for item in value[:MOST_ITEMS]]
    return value


def _is_plain(path: Path, file_type: str) -> bool:
    with open(path, "rb") as file:
        return file_type.lower() in _LINE_TYPES and file.read(2) != b"\x1f\x8b"


def _line_count(path: Path) -> int:
    """Lines with something on them, extrapolated beyond the first 64 MB."""
    size, seen, lines = path.stat().st_size, 0, 0
    last = b"\n"
    with open(path, "rb") as file:
        while seen < COUNTED_BYTES and (block := file.read(1 << 20)):
            seen += len(block)
            lines += block.count(b"\n")
            last = block[-1:]
    if seen and seen < size:
        return round(lines * size / seen)
    return lines + (last != b"\n")


if __name__ == "__main__":
    _path, _name = sys.argv[1:3]
    sys.stdout.write(json.dumps(main(Path(_path), _name, json.load(sys.stdin))))
