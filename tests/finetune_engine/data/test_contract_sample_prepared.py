"""The sample that ships with the product shows every flaw it was given, and nothing else."""

from __future__ import annotations

from pathlib import Path

from finetune_engine.data.samples.contract_clauses import FLAWS

SAMPLE = Path(__file__).resolve().parents[3] / "finetune_engine" / "data" / "samples" / "contract_clauses.jsonl"


def test_the_flaws_put_into_the_sample_are_the_flaws_found(prepare_file):
    done = prepare_file(SAMPLE)
    found = done.report["codes"]
    assert done.report["task_type"] == "classification"
    assert found == FLAWS | {"contradiction": 2 * FLAWS["contradiction"]}  # both rows of a pair
    assert done.counts["accepted"] == done.counts["total"] - sum(found.values())
