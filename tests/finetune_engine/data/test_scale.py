"""Memory does not grow with the file, and neither do the answers change with its size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finetune_engine.data.dedup import near_pairs
from finetune_engine.data.shingles import jaccard, shingle

ROOT = Path(__file__).resolve().parents[3]
ROWS = 30_000
WORDS = "party notice payment clause service supplier written days agreement law loss claim term fee goods work shall"


@pytest.fixture(scope="module")
def large_file(tmp_path_factory) -> Path:
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("scale") / "rows.jsonl"
    chosen = rng.integers(0, len(WORDS.split()), (ROWS, 120))
    vocabulary = WORDS.split()
    with open(path, "w") as file:
        for number, row in enumerate(chosen.tolist()):
            words = [vocabulary[i] for i in row]
            prompt, answer = " ".join(words[:60]), " ".join(words[60:])
            row = {"prompt": f"{prompt} {number}", "completion": answer if number < ROWS - 1_000 else "too short"}
            file.write(json.dumps(row) + "\n")
    return path


def test_thirty_thousand_rows_need_less_than_400_megabytes(large_file, tmp_path):
    (tmp_path / "options.json").write_text('{"near_duplicates": false, "languages": false}')
    script = (
        "import runpy, sys\n"
        "try: runpy.run_module('finetune_engine', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1], file=sys.stderr)"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "prepare",
        large_file,
        "--out",
        tmp_path / "out",
        "--options",
        tmp_path / "options.json",
    ]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stderr.split()[-1]) < 400 * 1024
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counts"]["total"] == ROWS
    assert report["codes"]["completion_too_short"] == 1_000
    assert report["statistics"]["word_rows"] <= 10_000 < report["statistics"]["total_examples"]
    numbers = pl.concat([pl.read_parquet(tmp_path / "out" / n, columns=["row"]) for n in report["chunks"]])["row"]
    assert numbers.to_list() == list(range(1, ROWS + 1))


def test_every_pair_that_is_alike_is_found_and_no_other():
    rng = np.random.default_rng(7)
    texts = [" ".join(f"w{w}" for w in rng.integers(0, 3_000, rng.integers(10, 60))) for _ in range(300)]
    for number in range(0, 300, 3):
        words = texts[number].split()
        words[int(rng.integers(0, len(words)))] = "changed"
        texts[number + 1] = " ".join(words)
    sets = shingle(texts)
    wanted = {
        (a, b) for a in range(len(texts)) for b in range(a + 1, len(texts)) if jaccard(sets.of(a), sets.of(b)) >= 0.7
    }
    found = near_pairs(np.arange(len(texts)), lambda part: [texts[i] for i in part.tolist()])
    assert {(a, b) for a, b, _ in found.pairs} == wanted
    assert len(wanted) > 50
