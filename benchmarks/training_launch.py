"""From exec to the first optimiser step: ``python -m benchmarks.training_launch ARM FOLDER`` prints its CPU-seconds.

Every arm starts from nothing in a fresh process; ``warm`` is a trainer that waits with its libraries loaded, and counts
from the arrival of its spec.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ARMS = ("ours", "warm", "plain", "trl")


def _tell(begun: float = 0.0) -> None:
    """Print what was used since ``begun`` and leave at once."""
    os.write(OUT, f"{time.process_time() - begun}\n".encode())
    os._exit(0)


def ours(folder: Path, *, warm: bool) -> None:
    """``python -m finetune_engine train``, ended at its first step."""
    from finetune_engine import __main__ as front
    from finetune_engine.events import Event, StreamSink

    begun = 0.0

    class Spec(io.StringIO):
        def readline(self, *args: Any) -> str:  # type: ignore[override]
            nonlocal begun
            begun = time.process_time()
            return super().readline(*args)

    class UntilFirstStep(StreamSink):
        def emit(self, event: Event) -> None:
            if event.kind == "metric":
                _tell(begun)
            if event.kind == "error":
                print(event.data, file=sys.stderr)

    front.StreamSink = UntilFirstStep  # type: ignore[misc]
    path = folder / "spec.json"
    if warm:
        sys.stdin = Spec(json.dumps(json.loads(path.read_text()) | {"out": str(folder / f"warm-{os.getpid()}")}) + "\n")
        sys.argv = ["finetune_engine", "train", "-"]
    else:
        sys.argv = ["finetune_engine", "train", str(path), "--out", str(folder / f"cold-{os.getpid()}")]
    front.main()


def peer(name: str, folder: Path) -> None:
    """The recipe of the throughput arm of the same name, ended at its first step."""
    from benchmarks import training_arms as arms

    class UntilFirstStep(arms.Turns):
        def step_done(self, valid: object) -> None:
            _tell()

    lesson = arms.Lesson.open(folder)
    arms.PEERS[name](lesson, UntilFirstStep(lesson, take_turns=False))


def main() -> None:
    """Carry out one launch."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name in ("ours", "warm"):
        ours(folder, warm=name == "warm")
    else:
        peer({"trl": "trl_padding_free"}.get(name, name), folder)


if __name__ == "__main__":
    OUT = os.dup(1)
    os.dup2(2, 1)
    main()
    raise SystemExit("the first step never came")
