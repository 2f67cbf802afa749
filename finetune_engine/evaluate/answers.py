"""What one model says to every test case: its answer, the cost of the reference, the label it finds likeliest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finetune_engine.evaluate.cases import Cases
from finetune_engine.evaluate.likelihood import label_ids, label_loglikelihoods
from finetune_engine.generate import Generated, generate_batch, score
from finetune_engine.ports import Run, Stopped
from finetune_engine.train.local.encode import encode_chat, encode_prompt
from finetune_engine.train.local.load import LoadedModel

BATCH_ROWS = 16
LONGEST_ANSWER = 1024
MOST_LABEL_SCORINGS = 200_000
"""Rows x labels beyond which label likelihoods are left out (and the report says so)."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class ModelAnswers:
    """Case by case, in the order of the cases.

    ``nll`` is the negative log-likelihood (nats, summed) of the reference and its end token, ``tokens`` how
    many tokens that is; ``likeliest`` the label of highest likelihood (None: not asked). ``shortened`` counts
    prompts cut to fit the context; ``prompts`` are the ids that were asked.
    """

    answers: list[str]
    finish_reasons: list[str]
    nll: list[float]
    tokens: list[int]
    likeliest: list[str] | None
    answer_limit: int
    shortened: int
    prompts: list[list[int]]


def steps_for(cases: Cases, *, with_labels: bool) -> int:
    """How many units of progress one model takes."""
    return len(cases.test) * (3 if with_labels else 2)


def asks_labels(cases: Cases, task_type: str) -> bool:
    """Whether label likelihoods are worth their cost."""
    wanted = task_type == "classification" and len(cases.train_labels) >= 2
    return wanted and len(cases.test) * len(cases.train_labels) <= MOST_LABEL_SCORINGS


def collect(
    run: Run, loaded: LoadedModel, cases: Cases, *, max_new_tokens: int | None, with_labels: bool, advance: Advance
) -> ModelAnswers:
    """Ask one model everything. ``advance`` gets the progress units done so far for this model.

    Raises ports.Stopped when told to stop.
    """
    references = [
        encode_chat(
            loaded,
            [*case.messages, {"role": "assistant", "content": case.reference}],
        ).answer_ids
        for case in cases.test
    ]
    limit = max_new_tokens or _answer_limit(references)
    room = max(1, loaded.context_length - max(limit, max(map(len, references))))
    whole = [encode_prompt(loaded, case.messages) for case in cases.test]
    prompts = [
        prompt if len(prompt) <= room else encode_prompt(loaded, case.messages, max_length=room)
        for prompt, case in zip(whole, cases.test, strict=True)
    ]
    generated = _generate(run, loaded, prompts, limit, advance)
    done = len(prompts)
    costs = score(loaded, list(zip(prompts, references, strict=True)), on_done=lambda n: advance(done + n))
    likeliest = None
    if with_labels:
        likeliest = _likeliest(loaded, cases, prompts, lambda n: advance(2 * done + n))
    return ModelAnswers(
        answers=[answer.text for answer in generated],
        finish_reasons=[answer.finish_reason for answer in generated],
        nll=[nll for nll, _ in costs],
        tokens=[tokens for _, tokens in costs],
        likeliest=likeliest,
        answer_limit=limit,
        shortened=sum(len(prompt) > room for prompt in whole),
        prompts=prompts,
    )


def _answer_limit(references: list[list[int]]) -> int:
    """Half as long again as the longest reference: room to be wordy, not to ramble on."""
    longest = max(map(len, references))
    return min(LONGEST_ANSWER, longest + max(4, longest // 2))


def _generate(run: Run, loaded: LoadedModel, prompts: list[list[int]], limit: int, advance: Advance) -> list[Generated]:
    answers = generate_batch(
        loaded,
        prompts,
        max_new_tokens=limit,
        batch_rows=BATCH_ROWS,
        should_stop=lambda: run.stop.action() not in ("go", "hold"),
        on_done=advance,
    )
    if any(answer.finish_reason == "cancelled" for answer in answers):
        action = run.boundary()
        raise Stopped(action if action != "go" else "cancel")
    return answers


def _likeliest(loaded: LoadedModel, cases: Cases, prompts: list[list[int]], advance: Advance) -> list[str]:
    labels = cases.train_labels
    ids = label_ids(loaded, [case.messages for case in cases.test], labels)
    values = label_loglikelihoods(loaded, prompts, ids, on_done=advance)
    return [labels[max(range(len(labels)), key=row.__getitem__)] for row in values]
