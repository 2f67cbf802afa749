"""Training on a GPU: ours against TRL with flash or SDPA attention and Liger, on a Llama of about 1B parameters, in bf16.

``python -m benchmarks.training_gpu [--json PATH]``. Random weights, LoRA r=16, the lengths and the checks of
``benchmarks.training``; arms take turns in processes of their own. Wall time counts, with the GPU's queue emptied at the
end of each step. Without a GPU it says so and ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.training import check_losses, interleaved, packed_rounds, rounds, show
from benchmarks.training_lesson import Sizes, make_lesson

LLAMA_1B = Sizes(vocabulary=32_000, hidden=2048, layers=20, inner=5632, heads=32, rounds=10, round_steps=4, spread=0.02)
GOAL = 1.0


def arms_here() -> list[str]:
    """TRL's ways that this machine can go: SDPA always, flash and Liger where they are installed."""
    flash = ["gpu_trl_flash"] if importlib.util.find_spec("flash_attn") else []
    liger = importlib.util.find_spec("liger_kernel") is not None
    names = ["gpu_trl_dynamic", "gpu_trl_packing", *flash]
    return ["gpu_ours", *names, *(f"{name}_liger" for name in names if liger)]


def measure(*, sizes: Sizes = LLAMA_1B) -> dict[str, dict[str, Any]]:
    """Useful tokens per second of each arm, and ours against the best of the others."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        lesson = make_lesson(Path(folder), sizes)
        told = interleaved(lesson, arms_here())
        apart = check_losses(told, against="gpu_trl_dynamic")
        by_round = {
            name: (rounds if "packing" not in name and "flash" not in name else packed_rounds)(lesson, found["seconds"])
            for name, found in told.items()
        }
    rates = {name: statistics.median(found) for name, found in by_round.items()}
    best = max((name for name in rates if name != "gpu_ours"), key=rates.__getitem__)
    times = statistics.median(a / b for a, b in zip(by_round["gpu_ours"], by_round[best], strict=True))
    memory = {f"{name}, peak GiB": found["peak_bytes"] / 2**30 for name, found in told.items()}
    return {
        f"training on {torch.cuda.get_device_name()}, times the best of TRL ({best})": {
            "value": times,
            "unit": "x useful tokens per second",
            "goal": f"> {GOAL}",
            "arms": {**rates, **memory, "greatest difference of validation loss, %": 100 * apart},
        }
    }


def main() -> None:
    """Measure, or say that there is nothing to measure on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_gpu", description=__doc__)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("training on a GPU: no GPU here, nothing was measured")
        return
    results = measure()
    show(results)
    if wanted.json:
        wanted.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
