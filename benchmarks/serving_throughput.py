"""Many callers at once: a replica of ours asked over HTTP by 32 clients, beside transformers' ``generate`` on one prompt after
the other, with identical tokens.

Greedy, one thread each; the arms take turns, and each figure is of all turns together. The demo model's own answers are a handful
of tokens, so that reading the prompts is most of the work: it is asked bare questions, and the same behind an instruction
that all callers share, as those of a deployed model do. It is also asked with an end token that it never writes: all its
answers then have 64. The replica is a process of its own, so its CPU-seconds are those of tokenising, HTTP and JSON too. The
program stops when a token differs. Conditions:
``docs/benchmarks.md``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

CLIENTS = 32
NEW_TOKENS = 64
PROMPTS = {False: 32, True: 128}
TURNS = 3
ROUNDS, LONG_ROUNDS = 4, 2
"""How often all prompts are asked in one turn; fewer times where each answer has 64 tokens."""
GOAL = 5.0
DEMO = "demo-base"
ENDLESS = "demo-base, 64 tokens"
START_SECONDS = 120.0
STORIES = "stories260K"
INSTRUCTION = (
    "You are the assistant of a housing office. Answer in one short sentence, in plain words, and only from what the agreement "
    "says. If the agreement does not say it, say that you do not know. Never give legal advice, never name a person, and never "
    "promise what the office has not promised. When a sum is asked for, give it with its currency. Question: "
)
OPENINGS = [
    "Once upon a time",
    "The tenant",
    "One day a girl named Lily",
    "Please",
    "Tom and his dog",
    "This agreement",
]
TAILS = [
    "",
    " went to the park and saw",
    " pays the rent on the first day of",
    " was very sad because",
    " is",
    " said that",
]


@dataclass(frozen=True)
class Work:
    """One model, what it is asked, how often in a turn, and what it has to reach."""

    name: str
    model: str
    prompts: list[str]
    rounds: int
    goal: str = f">= {GOAL}"


@dataclass
class Arm:
    """What one way of answering took."""

    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    first_seconds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Tokens per CPU-second."""
        return self.tokens / self.cpu_seconds


def measure(*, full: bool = False) -> dict[str, dict[str, Any]]:
    """Goal: 5 times as many tokens as one-by-one ``generate``, by the clock and by CPU-seconds, streamed and not."""
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = model_folders(Path(folder))
        results |= _measured(Path(folder), models, full=full)
    return results


def _measured(folder: Path, models: dict[str, Path], *, full: bool) -> dict[str, dict[str, Any]]:
    results: dict[str, dict[str, Any]] = {}
    with replica(folder, models) as (port, pid):
        for work in works(models, PROMPTS[full]):
            results |= compare(work, models[work.model], port, pid)
    return results


def works(models: dict[str, Path], count: int) -> list[Work]:
    """What is measured, with ``count`` different prompts each."""
    prompts = [
        f"{OPENINGS[n % 6]}{TAILS[n // 6 % 6]} {'and so on ' * ((n + n // 36) % 4)}".strip() for n in range(count)
    ]
    instructed = [INSTRUCTION + prompt for prompt in prompts]
    # Bare questions and answers of five tokens leave little to share: told, without a goal.
    found = [
        Work(DEMO, DEMO, prompts, ROUNDS, "none: few tokens"),
        Work(f"{DEMO}, one instruction", DEMO, instructed, ROUNDS),
    ]
    return found + [Work(name, name, prompts, LONG_ROUNDS) for name in models if name != DEMO]


def model_folders(folder: Path) -> dict[str, Path]:
    """The bundled demo model, a copy of it in ``folder`` that does not end, and stories260K where it lies."""
    from finetune_engine.catalogue.catalogue import load_catalogue

    demo = Path(str(load_catalogue()[DEMO].path))
    endless = Path(shutil.copytree(demo, folder / "endless"))
    for name in ("config.json", "generation_config.json"):
        if (endless / name).exists():
            settings = json.loads((endless / name).read_text())
            (endless / name).write_text(json.dumps(settings | {"eos_token_id": settings.get("pad_token_id", 0)}))
    found = {DEMO: demo, ENDLESS: endless}
    shared = Path(os.environ.get("TUNESMITH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if (stories := shared / "data" / "models" / STORIES).is_dir():
        found[STORIES] = stories
    return found


@contextmanager
def replica(folder: Path, models: dict[str, Path]) -> Iterator[tuple[int, int]]:
    """``python -m finetune_engine serve``; its port and process id."""
    entries = [
        {"model_id": name, "base_model": {"key": name, "path": str(path)}, "adapter": None, "digest": name}
        for name, path in models.items()
    ]
    (folder / "models.json").write_text(json.dumps({"models": entries}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["serve", "--models", str(folder / "models.json"), "--port", str(port), "--out", str(folder / "out")]
    command += ["--max-models", str(len(models))]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "TUNESMITH_THREADS": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetune_engine", *command], env=environment, stdout=log, stderr=log
        )
    try:
        asyncio.run(_loaded(port, list(models), process, folder / "log"))
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


async def _loaded(port: int, models: Sequence[str], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as session:
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"throughput: the replica did not start: {log.read_text()[-2000:]}")
            try:
                for name in models:
                    async with session.post(f"http://127.0.0.1:{port}/v1/load", json={"model": name}) as response:
                        response.raise_for_status()
                    # The first answer pays for what torch imports late.
                    body = {"model": name, "prompt": "The", "max_tokens": 2}
                    async with session.post(f"http://127.0.0.1:{port}/v1/completions", json=body) as response:
                        response.raise_for_status()
                return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.2)


def compare(work: Work, path: Path, port: int, pid: int) -> dict[str, dict[str, Any]]:
    """All arms for one model: a part of the prompts one by one, then the crowd with all of them, and again."""
    alone, ways = OneByOne(path, work.prompts), {"whole": Arm(), "streamed": Arm()}
    texts: list[list[list[str]]] = []
    for turn in range(TURNS):
        alone.answer(range(turn, len(work.prompts), TURNS))
        for way, arm in ways.items():
            prompts = work.prompts * work.rounds
            texts.append(asyncio.run(crowd(arm, work.model, prompts, port, pid, stream=way == "streamed")))
    for found in texts:
        check(work.name, found, alone.texts() * work.rounds)
    results: dict[str, dict[str, Any]] = {}
    for way, arm in ways.items():
        figures = {
            "generate one by one: tokens/s": alone.arm.rate,
            "generate one by one: tokens/CPU-s": alone.arm.cpu_rate,
            f"{CLIENTS} clients over HTTP: tokens/s": arm.rate,
            f"{CLIENTS} clients over HTTP: tokens/CPU-s": arm.cpu_rate,
            "first piece, median s": sorted(arm.first_seconds)[len(arm.first_seconds) // 2],
            "tokens": arm.tokens,
        }
        for unit, ratio, arms in (
            ("CPU-s", arm.cpu_rate / alone.arm.cpu_rate, figures),
            ("s", arm.rate / alone.arm.rate, {}),
        ):
            key = f"{work.name}, {way}: tokens/{unit}"
            results[key] = {"value": ratio, "unit": "x generate", "goal": work.goal, "arms": arms}
    return results


class OneByOne:
    """transformers' ``generate`` on one prompt after the other."""

    def __init__(self, path: Path, prompts: Sequence[str]) -> None:
        import torch

        from finetune_engine.catalogue.reference import BaseModelRef
        from finetune_engine.train.local.load import load_base

        torch.set_num_threads(1)
        self.arm = Arm()
        self._loaded = load_base(BaseModelRef(key="alone", path=str(path)))
        self._ids = [list(self._loaded.tokenizer(prompt)["input_ids"]) for prompt in prompts]
        self._answers: dict[int, list[int]] = {}
        _generate(self._loaded, self._ids[0])  # the first call pays for what torch imports late

    def answer(self, numbers: Iterable[int]) -> None:
        """Answer these prompts; what it took is added to ``arm``."""
        wall, cpu = time.perf_counter(), time.process_time()
        for number in numbers:
            self._answers[number] = _generate(self._loaded, self._ids[number])
            self.arm.tokens += len(self._answers[number])
        self.arm.seconds += time.perf_counter() - wall
        self.arm.cpu_seconds += time.process_time() - cpu

    def texts(self) -> list[list[str]]:
        """The text that each token of each answer adds, in the order of the prompts."""
        from finetune_engine.generate import Detokeniser

        texts = []
        for number, prompt in enumerate(self._ids):
            detokeniser = Detokeniser(self._loaded.tokenizer, prompt)
            pieces = [detokeniser.push(token) for token in self._answers[number]]
            texts.append([*pieces[:-1], pieces[-1] + detokeniser.flush()] if pieces else [])
        return texts


def _generate(loaded: Any, prompt: list[int]) -> list[int]:
    import torch

    ids = torch.tensor([prompt])
    with torch.inference_mode():
        out = loaded.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=list(loaded.eos_token_ids),
            pad_token_id=loaded.pad_token_id,
        )
    answer = out[0, len(prompt) :].tolist()
    return next((answer[:at] for at, token in enumerate(answer) if token in loaded.eos_token_ids), answer)


async def crowd(arm: Arm, model: str, prompts: Sequence[str], port: int, pid: int, *, stream: bool) -> list[list[str]]:
    """CLIENTS clients, each with its next prompt as soon as it has its answer; the texts of the answers' tokens. What it took
    is added to ``arm``."""
    left = list(enumerate(prompts))[::-1]
    texts: list[list[str]] = [[] for _ in prompts]
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:

        async def client() -> None:
            while left:
                number, prompt = left.pop()
                texts[number], first = await ask(session, model, prompt, stream=stream)
                arm.first_seconds.append(first)

        wall, cpu = time.perf_counter(), process_seconds(pid)
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        arm.seconds += time.perf_counter() - wall
        arm.cpu_seconds += process_seconds(pid) - cpu
    arm.tokens += sum(map(len, texts))
    return texts


async def ask(session: aiohttp.ClientSession, model: str, prompt: str, *, stream: bool) -> tuple[list[str], float]:
    """The texts of the tokens of one answer, and the seconds to its first piece."""
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "logprobs": 0,
        "stream": stream,
    }
    began = time.perf_counter()
    texts: list[str] = []
    async with session.post("/v1/completions", json=body) as response:
        if response.status != 200:
            raise SystemExit(f"throughput: {response.status} {await response.text()}")
        first = await response.content.readany()
        seconds = time.perf_counter() - began
        said = first + await response.read() if stream else first + await response.content.read()
    bodies = (
        [json.loads(line[6:]) for line in said.split(b"\n\n") if line.startswith(b"data: {")]
        if stream
        else [json.loads(said)]
    )
    for choice in (choice for one in bodies for choice in one["choices"]):
        texts += (choice["logprobs"] or {}).get("tokens") or []
    return texts, seconds


def check(name: str, found: Sequence[list[str]], wanted: Sequence[list[str]]) -> None:
    """Stop when an answer differs."""
    different = sum(mine != theirs for mine, theirs in zip(found, wanted, strict=True))
    if different:
        raise SystemExit(f"throughput: {different} of {len(wanted)} answers of {name} differ from generate's")


def process_seconds(pid: int) -> float:
    """CPU-seconds of a process and its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """``python -m benchmarks.serving_throughput [--full]``."""
    from benchmarks.training import show

    show(measure(full="--full" in sys.argv))


if __name__ == "__main__":
    main()
