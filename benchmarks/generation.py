"""Generation for evaluation: our batches against one-by-one ``generate`` of transformers, with identical tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.clock import cpu_seconds


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goal: at least 5 times fewer CPU-seconds than one-by-one."""
    import torch

    from finetune_engine.catalogue import demo_base
    from finetune_engine.catalogue.reference import BaseModelRef
    from finetune_engine.data.samples import SAMPLES
    from finetune_engine.generate import generate_batch
    from finetune_engine.train.local.encode import encode_prompt
    from finetune_engine.train.local.load import load_base

    loaded = load_base(BaseModelRef(key="demo-base", path=str(Path(demo_base.__file__).with_name("model"))))
    rows = [json.loads(line) for line in SAMPLES["contract_clauses"].path.read_text().splitlines()]
    texts = [row["text"] for row in rows if row.get("text", "").strip()][: 400 if full else 48]
    prompts = [encode_prompt(loaded, [{"role": "user", "content": text}]) for text in texts]
    answers: dict[str, list[list[int]]] = {}

    def ours() -> None:
        answers["ours"] = [list(found.token_ids) for found in generate_batch(loaded, prompts, max_new_tokens=16)]

    def one_by_one() -> None:
        answers["peer"] = []
        for prompt in prompts:
            ids = torch.tensor([prompt])
            out = loaded.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=16,
                do_sample=False,
                eos_token_id=loaded.eos_token_id,
                pad_token_id=loaded.eos_token_id,
            )
            answers["peer"].append(out[0, len(prompt) :].tolist())

    arms = cpu_seconds({"one by one, transformers generate": one_by_one, "our batches": ours})
    eos = loaded.eos_token_id
    same = [
        [t for t in a if t != eos] == [t for t in b if t != eos]
        for a, b in zip(answers["ours"], answers["peer"], strict=True)
    ]
    if not all(same):
        raise SystemExit(f"generation: {same.count(False)} of {len(same)} answers differ from one-by-one")
    ratio = arms["one by one, transformers generate"] / arms["our batches"]
    return {
        "generation, times one-by-one": {"value": ratio, "unit": "x fewer CPU-seconds", "goal": ">= 5", "arms": arms}
    }
