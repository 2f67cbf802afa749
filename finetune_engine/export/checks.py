"""Is the exported model the one that was served? Both are asked the same, the export through plain transformers."""

from __future__ import annotations

import gc
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune_engine.export.folders import base_folder, served_model
from finetune_engine.export.spec import ExportSpec
from finetune_engine.generate import generate_batch
from finetune_engine.train.local.encode import encode_prompt
from finetune_engine.train.local.template import turns_told

NEW_TOKENS = 32
LONGEST = 512
"""Of a longer prompt all token ids are compared, and both models are asked the last ones."""
TOLERANCE = 1e-3
"""The largest difference of a log-probability that float32 sums in another order bring about."""
SHIFT = 0.1
"""The share of probability that may lie elsewhere in half precision. There merging rounds, and the log-probability of a word
that is never said may move by more than a nat without anybody noticing."""


@dataclass(frozen=True)
class Comparison:
    """``questions`` asked; of these, how many were put to both models in the same token ids and how many got the same greedy
    answer; the largest difference of a next token's log-probability in nats, and the largest share of the next token's
    probability that lies elsewhere (total variation, 0..1). ``precision`` is that of the weights: in half precision merging
    rounds, so answers may part ways where two tokens are nearly as likely."""

    questions: int
    same_prompts: int
    same_answers: int
    largest_difference: float
    largest_shift: float
    precision: str

    @property
    def is_equal(self) -> bool:
        """Whether the export may be called the same model."""
        if self.same_prompts < self.questions:
            return False
        if self.precision != "float32":
            return self.largest_shift <= SHIFT
        return self.same_answers == self.questions and self.largest_difference <= TOLERANCE

    def as_dict(self) -> dict[str, Any]:
        """The figures and ``is_equal``."""
        return asdict(self) | {"is_equal": self.is_equal}


@dataclass(frozen=True)
class _Told:
    """What a model said to one question: the prompt's ids, log-probabilities after it ``(vocabulary,)``, the answer's ids."""

    prompt: list[int]
    logprobs: torch.Tensor
    answer: list[int]


@dataclass(frozen=True)
class _Served:
    """What the served model said, to the last ``room`` ids of each prompt, the ``turns`` that its template got, and how it was
    loaded."""

    told: list[_Told]
    turns: list[list[dict[str, Any]]]
    room: int
    dtype: torch.dtype
    device: torch.device


def compare(spec: ExportSpec, folder: Path) -> Comparison:
    """Ask the served model and the one in ``folder``. Memory holds one of them at a time."""
    served = _served(spec)
    gc.collect()
    pairs = list(zip(served.told, _exported(spec, folder, served), strict=True))
    return Comparison(
        questions=len(pairs),
        same_prompts=sum(one.prompt == other.prompt for one, other in pairs),
        same_answers=sum(one.answer == other.answer for one, other in pairs),
        largest_difference=max((_difference(one, other) for one, other in pairs), default=0.0),
        largest_shift=max((_shift(one, other) for one, other in pairs), default=0.0),
        precision=str(served.dtype).removeprefix("torch."),
    )


def _difference(one: _Told, other: _Told) -> float:
    if one.logprobs.shape != other.logprobs.shape:
        return math.inf
    found = float((one.logprobs - other.logprobs).abs().max())
    return math.inf if math.isnan(found) else found  # of several numbers max() might leave a NaN out


def _shift(one: _Told, other: _Told) -> float:
    if one.logprobs.shape != other.logprobs.shape:
        return 1.0
    found = float((one.logprobs.exp() - other.logprobs.exp()).abs().sum() / 2)
    return 1.0 if math.isnan(found) else found


def _served(spec: ExportSpec) -> _Served:
    loaded = served_model(spec)
    prompts = [encode_prompt(loaded, question) for question in spec.questions]
    room = max(8, min(LONGEST, loaded.context_length - NEW_TOKENS))
    written = generate_batch(loaded, [prompt[-room:] for prompt in prompts], max_new_tokens=NEW_TOKENS)
    model = loaded.activate()
    told = [
        _Told(prompt, _after(model, prompt[-room:]), answer.token_ids)
        for prompt, answer in zip(prompts, written, strict=True)
    ]
    turns = [turns_told(loaded.tokenizer, loaded.chat_template, question, prompt=True) for question in spec.questions]
    return _Served(told, turns, room, loaded.dtype, loaded.device)


def _exported(spec: ExportSpec, folder: Path, served: _Served) -> list[_Told]:
    """As the script in the folder does it: nothing of ours, only transformers (and peft for an adapter)."""
    how: Any = {"dtype": served.dtype, "local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if spec.kind == "adapter":
        from peft import PeftModel

        base = AutoModelForCausalLM.from_pretrained(base_folder(spec), **how)
        model: Any = PeftModel.from_pretrained(base, str(folder))
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, **how)
    model.to(served.device).eval()
    return [_ask(model, tokenizer, turns, spec, served.room) for turns in served.turns]


def _ask(model: Any, tokenizer: Any, turns: list[dict[str, Any]], spec: ExportSpec, room: int) -> _Told:
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    prompt = list(ids)
    asked = prompt[-room:]
    stops = model.generation_config.eos_token_id if spec.kind != "adapter" else tokenizer.eos_token_id
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([asked], device=model.device),
            attention_mask=torch.ones(1, len(asked), dtype=torch.long, device=model.device),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
        )
    ends = set(stops if isinstance(stops, list) else [stops])
    answer = [int(token) for token in out[0, len(asked) :].tolist() if token not in ends]
    return _Told(prompt, _after(model, asked), answer)


@torch.inference_mode()
def _after(model: Any, prompt: list[int]) -> torch.Tensor:
    device = next(model.parameters()).device
    logits = model(input_ids=torch.tensor([prompt], device=device), use_cache=False).logits[0, -1]
    return torch.log_softmax(logits.float(), dim=-1).cpu()
