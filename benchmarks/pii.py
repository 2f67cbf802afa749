"""Personal data: recall and precision per kind on texts with known spans, false alarms, and what looking costs."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = {
    "EMAIL_ADDRESS": "email",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip",
    "US_SSN": "us_ssn",
    "PHONE_NUMBER": "phone",
}
GOLD = Path(os.environ.get("TUNESMITH_SHARED", "/work/shared")) / "data" / "pii" / "presidio_synth_dataset_v2.json"


@dataclass
class Score:
    """Counts over all texts. A gold value is found when every character of it lies in spans of its kind."""

    gold: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    spans: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    texts_without: int = 0
    false_alarms: int = 0
    missed: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def recall(self, kind: str) -> float:
        """The share of gold values found."""
        return self.found[kind] / self.gold[kind] if self.gold[kind] else 1.0

    def precision(self, kind: str) -> float:
        """The share of spans that lie on a gold value of their kind."""
        return self.right[kind] / self.spans[kind] if self.spans[kind] else 1.0


def score(path: Path = GOLD) -> Score:
    """Compare ``find_pii`` with the gold spans of the file."""
    from finetune_engine.data.pii import find_pii

    out = Score()
    for item in json.loads(path.read_text("utf-8")):
        text = item["full_text"]
        gold = [
            (KINDS[s["entity_type"]], s["start_position"], s["end_position"])
            for s in item["spans"]
            if s["entity_type"] in KINDS
        ]
        spans = find_pii(text)
        for kind, start, end in gold:
            covered = {i for s in spans if s.kind == kind for i in range(s.start, s.end)}
            out.gold[kind] += 1
            if covered.issuperset(range(start, end)):
                out.found[kind] += 1
            else:
                out.missed.append((kind, text[max(0, start - 40) : end + 20]))
        for span in spans:
            out.spans[span.kind] += 1
            if any(kind == span.kind and span.start < end and start < span.end for kind, start, end in gold):
                out.right[span.kind] += 1
            else:
                out.wrong.append((span.kind, text[max(0, span.start - 40) : span.end + 20]))
        if not gold:
            out.texts_without += 1
            out.false_alarms += bool(spans)
    return out


def _microseconds(act: Callable[[], object], rows: int) -> float:
    begun = time.process_time()
    act()
    return (time.process_time() - begun) / rows * 1e6


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: recall at least 0.95 (phone 0.90), precision 0.85, alarms in at most 3 % of the texts without any."""
    import polars as pl

    from finetune_engine.data.pii import MAY_HOLD_PII, find_pii

    out: dict[str, dict[str, Any]] = {}
    if GOLD.exists():
        result = score()
        for kind in KINDS.values():
            goal = 0.90 if kind == "phone" else 0.95
            arms = {"gold values": float(result.gold[kind]), "precision (goal >= 0.85)": result.precision(kind)}
            out[f"personal data, recall of {kind}"] = {
                "value": result.recall(kind), "unit": "of gold values", "goal": f">= {goal}", "arms": arms,
            }  # fmt: skip
        out["personal data, texts with a false alarm"] = {
            "value": 100 * result.false_alarms / result.texts_without, "unit": "% of texts without any",
            "goal": "<= 3", "arms": {"texts without any": float(result.texts_without)},
        }  # fmt: skip
    rows = 100_000 if full else 20_000
    clean = pl.Series(
        [f"The party of the first part shall give notice {i} days before it leaves." * 4 for i in range(rows)]
    )
    dirty = [
        f"Write to person{i}@example.org or call +44 20 7946 {i % 10_000:04d} before noon, thank you."
        for i in range(rows // 20)
    ]
    out["personal data, looking at a clean text"] = {
        "value": _microseconds(lambda: clean.str.contains(MAY_HOLD_PII), rows), "unit": "microseconds", "goal": "<= 2",
        "arms": {"a text with an address and a number": _microseconds(lambda: [find_pii(t) for t in dirty], len(dirty))},
    }  # fmt: skip
    return out


if __name__ == "__main__":
    result = score()
    for kind in KINDS.values():
        print(
            f"{kind:<8} gold {result.gold[kind]:>4}  recall {result.recall(kind):.3f}  precision {result.precision(kind):.3f}"
        )
    print(
        f"false alarms in {result.false_alarms} of {result.texts_without} texts without any; spans {dict(result.spans)}"
    )
