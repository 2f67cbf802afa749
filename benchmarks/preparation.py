"""Data preparation: `prepare` against a plain Python pipeline that finds the same rows."""

from __future__ import annotations

import hashlib
import json
import random
import re
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clock import cpu_seconds

TEXT = "party notice payment clause service supplier written days agreement law loss claim term fee goods work"
WORDS = TEXT.split()


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goal: at least 20 times fewer CPU-seconds than naive Python on exact checks (both arms without near-duplicates)."""
    from finetune_engine.data.options import PrepareOptions
    from finetune_engine.data.prepare import prepare
    from finetune_engine.events import ListSink
    from finetune_engine.ports import Run

    options = PrepareOptions(near_duplicates=False, pii=False)
    rows = 100_000 if full else 5_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        _write(path, rows)
        counts: dict[str, dict[str, int]] = {}

        def ours() -> None:
            out = Path(tempfile.mkdtemp(dir=folder))
            prepare(path, out, options, Run(ListSink()))
            counts["ours"] = json.loads((out / "report.json").read_text())["counts"]

        def naive() -> None:
            counts["peer"] = _naive(path)

        arms = cpu_seconds({"plain Python": naive, "prepare": ours}, repeats=2 if full else 3)
    for name in ("total", "rejected"):
        if counts["ours"][name] != counts["peer"][name]:
            raise SystemExit(f"preparation: the arms disagree on {name}: {counts}")
    ratio = arms["plain Python"] / arms["prepare"]
    return {
        "preparation, times plain Python": {
            "value": ratio,
            "unit": "x fewer CPU-seconds",
            "goal": ">= 20",
            "arms": arms,
        }
    }


def _write(path: Path, rows: int) -> None:
    rng = random.Random(11)
    with open(path, "w") as file:
        for number in range(rows):
            text = " ".join(rng.choices(WORDS, k=rng.randint(12, 60))) + f" {number}"
            file.write(json.dumps({"text": text, "label": rng.choice(["A", "B", "C"])}) + "\n")
            if number % 50 == 0:
                file.write(json.dumps({"text": text, "label": ""}) + "\n")


def _naive(path: Path) -> dict[str, int]:
    """What a careful script does: parse, normalise, hash, count words, compare spellings, write the rows again."""
    total = rejected = 0
    seen: set[str] = set()
    vocabulary: set[str] = set()
    with open(path) as file, tempfile.TemporaryFile("w") as out:
        for line in file:
            total += 1
            row = json.loads(line)
            text, label = row["text"], row["label"]
            normal = re.sub(r"\s+", " ", text).strip().lower()
            key = hashlib.sha256(f"{normal}\0{label}".encode()).hexdigest()
            words = re.findall(r"\w+", normal)
            vocabulary.update(words)
            bad = not label.strip() or not normal or key in seen or re.search(r"[\x00-\x08]", text) is not None
            rejected += bad
            seen.add(key)
            messages = [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
            out.write(json.dumps({"messages": messages, "words": len(words), "rejected": bad, "key": key}) + "\n")
    return {"total": total, "rejected": rejected}
