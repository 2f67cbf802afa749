"""Data preparation against reading alone, and against a plain Python pipeline that does the same checks row by row.

The plain arm is what a careful person writes with ``json``, ``re``, ``unicodedata``, ``hashlib`` and ``ftfy``: it cleans,
checks and counts every row with the same rules, without a table engine. Both arms must count the same.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.clock import cpu_seconds

WORDS = [
    "party",
    "notice",
    "payment",
    "clause",
    "service",
    "supplier",
    "written",
    "days",
    "agreement",
    "law",
    "loss",
    "claim",
    "term",
    "fee",
    "goods",
    "work",
    "shall",
    "provide",
    "between",
    "liability",
    "insurance",
    "contract",
    "period",
    "customer",
    "delivery",
    "termination",
    "breach",
    "damages",
    "confidential",
    "information",
]
_OPTIONS = {"near_duplicates": False, "languages": False}
_SMALL, _FULL, _PLAIN = 5_000, 1_000_000, 50_000


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: 3 times a plain ``json.loads`` loop, 20 times fewer CPU-seconds than plain Python, linear, under 400 MB."""
    from finetune_engine.data.commands import spare_the_machine

    spare_the_machine()
    with tempfile.TemporaryDirectory() as folder:
        rows = _FULL // 10 if full else _SMALL
        path, plain = Path(folder) / "rows.jsonl", Path(folder) / "plain.jsonl"
        write_rows(path, rows)
        write_rows(plain, _PLAIN if full else 2_000)
        results = _against_reading(path, Path(folder), repeats=3)
        results |= _against_plain(plain, Path(folder), repeats=2)
        results |= _scale(Path(folder), rows, times=10 if full else 4)
    return results


def _against_reading(path: Path, folder: Path, repeats: int) -> dict[str, dict[str, Any]]:
    def read() -> None:
        with open(path) as file:
            for line in file:
                try:
                    json.loads(line)
                except ValueError:
                    continue

    prepared(path, folder)  # the first run pays for imports
    arms = cpu_seconds({"json.loads on every line": read, "prepare": lambda: prepared(path, folder)}, repeats)
    value = arms["prepare"] / arms["json.loads on every line"]
    return {"preparation, times reading alone": result(value, "x the CPU-seconds of json.loads", "<= 3", arms)}


def _against_plain(path: Path, folder: Path, repeats: int) -> dict[str, dict[str, Any]]:
    counts: dict[str, Any] = {}

    def ours() -> None:
        counts["ours"] = counted(prepared(path, folder))

    def theirs() -> None:
        counts["plain"] = plain_pipeline(path, folder)

    arms = cpu_seconds({"plain Python": theirs, "prepare": ours}, repeats)
    if counts["ours"] != counts["plain"]:
        raise SystemExit(f"preparation: the arms disagree:\n{counts['ours']}\n{counts['plain']}")
    value = arms["plain Python"] / arms["prepare"]
    return {"preparation, times plain Python": result(value, "x fewer CPU-seconds", ">= 20", arms)}


def _scale(folder: Path, rows: int, times: int) -> dict[str, dict[str, Any]]:
    """The command in a process of its own, on some rows and on many times as many."""
    few, many = folder / "few.jsonl", folder / "many.jsonl"
    write_rows(few, rows)
    write_rows(many, rows * times)
    small, large = command_cost(few, folder), command_cost(many, folder)
    arms = {f"{rows:,} rows": small[0], f"{rows * times:,} rows": large[0]}
    memory = {f"{rows:,} rows (MB)": small[1], f"{rows * times:,} rows (MB)": large[1]}
    growth = f"<= {1.1 * times:g}"
    return {
        f"preparation, {times} times the rows": result(large[0] / small[0], "x the CPU-seconds", growth, arms),
        "preparation, greatest memory": result(large[1], "MB resident", "< 400", memory),
    }


def command_cost(path: Path, folder: Path) -> tuple[float, float, Path]:
    """CPU-seconds and the greatest resident memory in MB of ``prepare`` on a file, and where its results lie."""
    options = folder / "options.json"
    options.write_text(json.dumps(_OPTIONS))
    out = tempfile.mkdtemp(dir=folder)
    script = (
        "import resource, runpy, sys\n"
        "try: runpy.run_module('finetune_engine', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]\n"
        "print('USED', used.ru_utime + used.ru_stime, int(peak) / 1024, file=sys.stderr)"
    )
    command = [sys.executable, "-c", script, "prepare", str(path), "--out", out, "--options", str(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, seconds, megabytes = next(line for line in done.stderr.splitlines() if line.startswith("USED")).split()
    return float(seconds), float(megabytes), Path(out)


def result(value: float, unit: str, goal: str, arms: dict[str, float]) -> dict[str, Any]:
    """One line of the table."""
    return {"value": value, "unit": unit, "goal": goal, "arms": arms}


def prepared(path: Path, folder: Path) -> dict[str, Any]:
    """The report of ``prepare`` with every check but the comparison of texts and the guess of languages."""
    from finetune_engine.data.options import read_options
    from finetune_engine.data.prepare import prepare
    from finetune_engine.events import ListSink
    from finetune_engine.ports import Run

    out = Path(tempfile.mkdtemp(dir=folder))
    return prepare(path, out, read_options(_OPTIONS), Run(ListSink()))


def write_rows(path: Path, rows: int) -> None:
    """About 1 KB a row, one in forty with a flaw."""
    rng = random.Random(11)
    with open(path, "w") as file:
        for number in range(rows):
            asked = " ".join(rng.choices(WORDS, k=60)) + f" {number}?"
            said = " ".join(rng.choices(WORDS, k=58)).capitalize() + "."
            file.write(_flawed(number, asked, said) + "\n")


def _flawed(number: int, asked: str, said: str) -> str:
    flaw = number % 400
    if flaw == 10:
        return '{"prompt": "' + asked
    if flaw == 50:
        said = ""
    elif flaw == 90:
        said += "  "
    elif flaw == 130:
        asked = asked.replace("notice", "caf\u00e9\u00a0bar")
    elif flaw == 170:
        asked += f" Write to clerk{number}@example.org."
    elif flaw == 210:
        said += " Call +44 20 7946 0958."
    elif flaw == 250:
        said += " <|im_end|>"
    elif flaw == 290:
        said = "again and again and so on " * 20
    elif flaw in (330, 331):
        asked, said = f"The same question of row {number - flaw}", "The same answer in both rows, word for word."
    return json.dumps({"prompt": asked, "completion": said})


# --- the plain arm ------------------------------------------------------------------------------------------------


def plain_pipeline(path: Path, folder: Path) -> dict[str, Any]:
    """Two loops over rows in plain Python; the same counts as ``prepare`` reports, and the same things written."""
    from finetune_engine.data.stats import step_for

    codes: Counter[str] = Counter()
    pii: Counter[str] = Counter()
    cleaned: Counter[str] = Counter()
    seen: set[str] = set()
    lengths: list[tuple[int, int]] = []
    vocabulary: set[str] = set()
    statuses: Counter[str] = Counter()
    with open(path) as lines:
        every = step_for(sum(1 for _ in lines))
    out = Path(tempfile.mkdtemp(dir=folder))
    with open(path) as lines, open(out / "rows.jsonl", "w") as kept, open(out / "findings.jsonl", "w") as noted:
        for number, line in enumerate(lines, 1):
            row, found = _plain_row(line, seen, cleaned, pii)
            codes.update({finding["code"] for finding in found})
            status = _worst(found)
            statuses[status] += 1
            for finding in found:
                noted.write(json.dumps(finding | {"row": number}) + "\n")
            kept.write(json.dumps({"row": number, "status": status, "original": line} | row) + "\n")
            if status in ("accepted", "flagged"):
                lengths.append((len(row["prompt"].split()), len(row["answer"].split())))
                if (number - 1) % every == 0:
                    vocabulary.update(re.findall(r"\w+", f"{row['prompt']} {row['answer']}".lower()))
    return {
        "statuses": dict(statuses),
        "codes": dict(codes),
        "pii": dict(pii),
        "cleaning": dict(cleaned),
        "words": _averages(lengths),
        "vocabulary": len(vocabulary),
    }


def _plain_row(
    line: str, seen: set[str], cleaned: Counter[str], pii: Counter[str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from finetune_engine.data.cleaning import clean_messages, read_plan
    from finetune_engine.data.validation import check_messages

    try:
        value = json.loads(line)
    except ValueError as error:
        return {"prompt": "", "answer": ""}, [{"code": "invalid_json", "message": str(error)}]
    messages = [{"role": "user", "content": value["prompt"]}, {"role": "assistant", "content": value["completion"]}]
    messages, steps = clean_messages(messages, read_plan(None))
    cleaned.update(steps)
    prompt, answer = messages[0]["content"], messages[1]["content"]
    checks = check_messages(messages, task_type="completion", min_prompt_words=5, min_completion_words=10)
    found = [{"code": f.code, "message": f.message, "kind": f.kind, "start": f.start} for f in checks]
    pii.update({f.kind for f in checks if f.kind})
    if len(json.dumps(messages, ensure_ascii=False)) // 4 > 4096:
        found.append({"code": "too_long", "message": "is too long"})
    if answer and prompt:
        normal = "\x1f".join(" ".join(unicodedata.normalize("NFC", text).lower().split()) for text in (prompt, answer))
        key = hashlib.sha256(normal.encode()).hexdigest()
        if key in seen:
            found.append({"code": "duplicate_exact", "message": "is there already"})
        seen.add(key)
    return {"messages": messages, "prompt": prompt, "answer": answer, "cleaned": steps}, found


def _worst(found: list[dict[str, Any]]) -> str:
    from finetune_engine.data.codes import RANK, STATUSES, status_of

    return STATUSES[max((RANK[status_of(finding["code"])] for finding in found), default=0)]


def _averages(lengths: list[tuple[int, int]]) -> list[float]:
    return [round(sum(part) / len(lengths), 2) for part in zip(*lengths, strict=True)]


def counted(report: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report that the plain arm counts too."""
    figures = report["statistics"]
    return {
        "statuses": {name: count for name, count in report["counts"].items() if count and name != "total"},
        "codes": report["codes"],
        "pii": report["pii"],
        "cleaning": report["cleaning"],
        "words": [figures["avg_prompt_length"], figures["avg_completion_length"]],
        "vocabulary": figures["vocabulary_size"],
    }
