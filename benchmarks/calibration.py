"""Does a model know when it is right? ``demo-base`` learns the ten domains of CLINC150 through the engine's own commands, the
engine asks it the test questions, and its confidence is calibrated on one half of them and judged on the other.

The error is ``ece_10_bin``; a promise is the share of answers above the threshold that are right. The program stops when a
threshold does not deliver what it promised on the half that it was not chosen on. Conditions: ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SEED = 7
TRAIN = {False: 1_500, True: 7_500}
TEST = {False: 1_200, True: 4_500}
EPOCHS = 3
PROMISES = (0.9, 0.95)
Row = tuple[str, str, str]


def measure(*, full: bool = False, keep: Path | None = None) -> dict[str, dict[str, Any]]:
    """The error before and after, and what the thresholds deliver on held-out rows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        samples = folder / "evaluation" / "samples.parquet"
        if not samples.exists():
            ask_tuned_model(folder, full=full)
        return results(*confidences_of(samples))


def confidences_of(samples: Path) -> tuple[list[float], list[bool]]:
    """How sure the tuned model was of each answer, and whether it was right."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(samples, columns=["tuned_confidence", "tuned_correct"]).to_pydict()
    pairs = [
        (sure, right)
        for sure, right in zip(table["tuned_confidence"], table["tuned_correct"], strict=True)
        if sure is not None
    ]
    return [sure for sure, _ in pairs], [right for _, right in pairs]


def results(confidences: list[float], right: list[bool]) -> dict[str, dict[str, Any]]:
    """What ``python -m benchmarks`` prints."""
    from finetune_engine.serve.calibration import fit_calibration
    from finetune_engine.serve.thresholds import threshold_for

    fitted = fit_calibration(confidences, right, seed=SEED)
    before, after = fitted.report["before"], fitted.report["after"]
    told = {
        f"{name}, {part}": one[part]
        for name, one in (("before", before), ("after", after))
        for part in ("ece_10_bin", "ece_low", "ece_high")
    }
    told |= {"share right": sum(right) / len(right), "rows": len(right), "held out": fitted.report["held_out"]}
    found = {
        "calibration error on held-out rows, after / before": {
            "value": after["ece_10_bin"] / before["ece_10_bin"],
            "unit": f"({fitted.report['method']})",
            "goal": "< 1",
            "arms": told,
        }
    }
    for promise in PROMISES:
        chosen = threshold_for(promise, fitted.report)
        if chosen.threshold is None or chosen.held_out is None:
            print(f"calibration: no threshold keeps the promise of {promise:.0%}")
            continue
        held = chosen.held_out
        if not chosen.is_kept:
            raise SystemExit(f"calibration: {promise:.0%} promised, held-out answers say {held.accuracy}")
        found[f"right of the answers above the threshold for {promise:.0%}"] = {
            "value": held.accuracy,
            "unit": "on held-out rows",
            "goal": f">= {promise}",
            "arms": {"threshold": chosen.threshold} | held.as_dict(),
        }
    return found


def ask_tuned_model(folder: Path, *, full: bool) -> None:
    """Train and ask, as two commands of the engine; leaves ``evaluation/samples.parquet``."""
    from finetune_engine.catalogue.catalogue import load_catalogue

    snapshot = write_snapshot(folder / "snapshot.parquet", rows_of(full=full))
    base = {"key": "demo-base", "path": str(load_catalogue()["demo-base"].path)}
    training = {"num_train_epochs": EPOCHS, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 1}
    command("train", folder / "train.json", folder / "training", {
        "base_model": base, "snapshot": {"path": str(snapshot)}, "training": training | {"seed": SEED}, "threads": 1,
    })  # fmt: skip
    models = [{"key": "tuned", "adapter": str(folder / "training" / "artefact")}]
    command("evaluate", folder / "evaluate.json", folder / "evaluation", {
        "base_model": base, "models": models, "snapshot": {"path": str(snapshot)}, "task_type": "classification",
        "suites": ["quality"],
    })  # fmt: skip


def rows_of(*, full: bool) -> list[Row]:
    """``(split, question, domain)``; real rows, see ``data/README.md`` of the shared folder."""
    shared = Path(os.environ.get("TUNESMITH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    folder = shared / "data" / "classification"
    rows = json.loads((folder / "clinc150_data_small.json").read_text(encoding="utf-8"))
    by_domain = json.loads((folder / "clinc150_domains.json").read_text(encoding="utf-8"))
    domain_of = {intent: domain.replace("_", " ") for domain, intents in by_domain.items() for intent in intents}
    draw = random.Random(SEED)
    chosen: list[Row] = []
    for split, source, count in (
        ("train", "train", TRAIN[full]),
        ("validation", "val", 200),
        ("test", "test", TEST[full]),
    ):
        there = rows[source]
        chosen += [(split, text, domain_of[intent]) for text, intent in draw.sample(there, min(count, len(there)))]
    return chosen


def write_snapshot(path: Path, rows: list[Row]) -> Path:
    """The rows as the engine reads them."""
    import pyarrow
    import pyarrow.parquet

    table = [
        {
            "row": number,
            "split": split,
            "messages": json.dumps([{"role": "user", "content": asked}, {"role": "assistant", "content": domain}]),
            "prompt": asked,
            "answer": domain,
            "label": domain,
            "metadata": "{}",
            "content_hash": str(number),
        }
        for number, (split, asked, domain) in enumerate(rows, 1)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), path)
    return path


def command(name: str, path: Path, out: Path, spec: dict[str, Any]) -> None:
    """``python -m finetune_engine <name>`` on one thread, the spec beside its results."""
    path.write_text(json.dumps(spec), encoding="utf-8")
    with path.with_suffix(".jsonl").open("wb") as events:
        subprocess.run(
            [sys.executable, "-m", "finetune_engine", name, str(path), "--out", str(out)],
            stdout=events,
            check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--keep", type=Path, help="keep model and answers there, and use those that are there")
    asked = parser.parse_args()
    for name, result in measure(full=asked.full, keep=asked.keep).items():
        print(name, json.dumps(result, indent=1))
