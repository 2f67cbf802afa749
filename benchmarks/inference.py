"""Asking a model, as an evaluation does: our batches against one-by-one ``generate`` and against left-padded batches in file
order, with identical tokens; and the cost of references against padding every row to the longest.

Base model and a LoRA adapter on it, greedy, prompts of log-normal lengths; several end tokens, so that answers end at
different lengths. The program stops when an answer differs. Conditions: ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clock import cpu_seconds
from benchmarks.training_lesson import ACCUMULATE, BATCH, LONGEST, Sizes, make_lesson

PROMPTS = {False: 64, True: 500}
REPEATS = {False: 3, True: 1}
NEW_TOKENS = 32
PLAIN_ROWS = 16
ENDS = 40
"""Tokens of the vocabulary that end an answer: about one step in a hundred ends one."""
SAME_NLL = 1e-3
GOALS = {"one by one": 5.0, "file order": 1.5, "padded to the longest": 3.8}

Ids = list[int]
Answers = dict[str, list[Ids]]


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goals: 5 times one-by-one, 1.5 times batches in file order, 3.8 times scoring padded to the longest row."""
    with tempfile.TemporaryDirectory() as folder:
        count = PROMPTS[full]
        lesson = make_lesson(Path(folder), Sizes(rounds=1, round_steps=-(-count // (BATCH * ACCUMULATE)), validation=1))
        rows = lesson.rows("train")[:count]
        models = load_models(lesson.model, Path(folder) / "adapter")
        prompts = [row["input_ids"][: row["prompt"]] for row in rows]
        results = generation(models, prompts, repeats=REPEATS[full])
        pairs = [(row["input_ids"][: row["prompt"]], row["input_ids"][row["prompt"] :]) for row in rows]
        return results | scoring(models, pairs, repeats=REPEATS[full])


def load_models(folder: Path, adapter: Path) -> dict[str, Any]:
    """The base and the tuned model on one set of weights, with ENDS end tokens."""
    from dataclasses import replace

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from finetune_engine.catalogue.reference import BaseModelRef
    from finetune_engine.train.local.device import use_threads
    from finetune_engine.train.local.load import attach_adapter, load_base

    use_threads()
    torch.manual_seed(2)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    )
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    tuned.save_pretrained(str(adapter))
    base = load_base(BaseModelRef(key="lesson", path=str(folder)))
    base = replace(base, eos_token_ids=tuple(range(base.eos_token_id, base.eos_token_id + ENDS)))
    return {"base": base, "tuned": attach_adapter(base, adapter)}


def generation(models: Mapping[str, Any], prompts: Sequence[Ids], *, repeats: int) -> dict[str, dict[str, Any]]:
    """All three ways of generating, their answers compared."""
    from finetune_engine.evaluate.asking.local import BATCH_ROWS
    from finetune_engine.generate import generate_batch

    answers: dict[str, Answers] = {}
    peaks: dict[str, float] = {}

    def ours() -> Answers:
        return {
            key: [
                found.token_ids
                for found in generate_batch(loaded, prompts, max_new_tokens=NEW_TOKENS, batch_rows=BATCH_ROWS)
            ]
            for key, loaded in models.items()
        }

    def in_file_order(rows: int) -> Answers:
        found: Answers = {}
        for key, loaded in models.items():
            batches = [prompts[start : start + rows] for start in range(0, len(prompts), rows)]
            found[key] = [ids for batch in batches for ids in plain_generate(loaded, batch)]
        return found

    arms: dict[str, Callable[[], Answers]] = {
        "ours": ours,
        "one by one": lambda: in_file_order(1),
        "file order": lambda: in_file_order(PLAIN_ROWS),
    }
    seconds = cpu_seconds({name: watching(name, act, answers, peaks) for name, act in arms.items()}, repeats)
    for name in ("one by one", "file order"):
        for key in models:
            different = sum(
                mine != theirs for mine, theirs in zip(answers["ours"][key], answers[name][key], strict=True)
            )
            if different:
                raise SystemExit(f"inference: {different} of {len(prompts)} answers of {key} differ from {name}")
    told = seconds | {f"{name}, MB at the peak above its start": peak for name, peak in peaks.items()}
    tokens = sum(len(ids) for found in answers["ours"].values() for ids in found)
    told["tokens generated"] = tokens
    return {
        f"generation, times {name}": {
            "value": seconds[name] / seconds["ours"],
            "unit": "x fewer CPU-seconds",
            "goal": f">= {GOALS[name]}",
            "arms": told if name == "one by one" else {},
        }
        for name in ("one by one", "file order")
    }


def plain_generate(loaded: Any, batch: Sequence[Ids]) -> list[Ids]:
    """transformers' own ``generate`` on a left-padded batch; without the end token and what is padded behind it."""
    import torch

    width = max(map(len, batch))
    ids = torch.full((len(batch), width), loaded.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(batch):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    with torch.inference_mode():
        out = loaded.activate().generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=list(loaded.eos_token_ids),
            pad_token_id=loaded.pad_token_id,
        )
    return [until_end(row[width:].tolist(), loaded.eos_token_ids) for row in out]


def until_end(ids: Ids, ends: Sequence[int]) -> Ids:
    """The ids before the first end token."""
    return next((ids[:at] for at, token in enumerate(ids) if token in ends), ids)


def scoring(models: Mapping[str, Any], pairs: Sequence[tuple[Ids, Ids]], *, repeats: int) -> dict[str, dict[str, Any]]:
    """The negative log-likelihood of every answer, ours and padded to LONGEST in file order."""
    from finetune_engine.generate import score

    found: dict[str, list[float]] = {}
    peaks: dict[str, float] = {}

    def ours() -> list[float]:
        return [nll for loaded in models.values() for nll, _ in score(loaded, pairs)]

    def padded() -> list[float]:
        return [nll for loaded in models.values() for nll in padded_scores(loaded, pairs)]

    arms = {"ours": ours, "padded to the longest": padded}
    seconds = cpu_seconds({name: watching(name, act, found, peaks) for name, act in arms.items()}, repeats)
    apart = max(abs(a - b) / max(1.0, b) for a, b in zip(found["ours"], found["padded to the longest"], strict=True))
    if apart > SAME_NLL:
        raise SystemExit(f"inference: the scores differ by up to {apart:.2g}")
    told = {f"scoring, {name}": value for name, value in seconds.items()}
    told |= {f"scoring, {name}, MB at the peak above its start": peak for name, peak in peaks.items()}
    name = "padded to the longest"
    return {
        f"loss scoring, times {name}": {
            "value": seconds[name] / seconds["ours"],
            "unit": "x fewer CPU-seconds",
            "goal": f">= {GOALS[name]}",
            "arms": told,
        }
    }


def padded_scores(loaded: Any, pairs: Sequence[tuple[Ids, Ids]]) -> list[float]:
    """The plain recipe: batches in file order, every row padded to LONGEST, logits at every place."""
    import torch

    found = []
    for start in range(0, len(pairs), PLAIN_ROWS):
        batch = pairs[start : start + PLAIN_ROWS]
        ids = torch.full((len(batch), LONGEST), loaded.pad_token_id)
        labels = torch.full_like(ids, -100)
        mask = torch.zeros_like(ids)
        for row, (prompt, answer) in enumerate(batch):
            whole = [*prompt, *answer]
            ids[row, : len(whole)] = torch.tensor(whole)
            labels[row, len(prompt) : len(whole)] = torch.tensor(answer)
            mask[row, : len(whole)] = 1
        with torch.inference_mode():
            logits = loaded.activate()(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100
            )
        found.extend(losses.sum(dim=1).tolist())
    return found


def watching(name: str, act: Callable[[], Any], results: dict[str, Any], peaks: dict[str, float]) -> Callable[[], None]:
    """``act`` for the clock: what it returns goes into ``results``, its memory into ``peaks``."""

    def watch() -> None:
        results[name] = watched(name, act, peaks)

    return watch


def watched(name: str, act: Callable[[], Any], peaks: dict[str, float]) -> Any:
    """What ``act`` returns; how far memory rose above its start goes into ``peaks`` (MB; where Linux tells it)."""
    start = memory("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        start = None
    result = act()
    if start is not None and (peak := memory("VmHWM")) is not None:
        peaks[name] = max(peaks.get(name, 0.0), (peak - start) / 1e6)
    return result


def memory(field: str) -> float | None:
    """Bytes, as the kernel counts this process; None where it does not."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def main() -> None:
    """``python -m benchmarks.inference [--full] [--json PATH]``."""
    from benchmarks.training import show

    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of docs/benchmarks.md")
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    results = measure(full=wanted.full)
    show(results)
    if wanted.json:
        wanted.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
