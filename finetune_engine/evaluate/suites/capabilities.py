"""Forgetting: what the base model could do before it was trained, and how much of that is left.

Shipped questions are asked as multiple choice by log-likelihood, the share that guessing gets right is subtracted, and what
is left is told as retention with a paired interval. Where the base model is hardly better than guessing, the surprise at a
little ordinary text (cross-entropy) judges instead. The reference is always the subject's own bare base model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from finetune_engine.evaluate.asking.asker import Asker
from finetune_engine.evaluate.probes import EXAMPLES, PROMPT, Probe, passages, probes
from finetune_engine.evaluate.spec import ModelSpec
from finetune_engine.evaluate.statistics.percent import percent
from finetune_engine.evaluate.statistics.retention import Retention, TextChange, retention, text_change
from finetune_engine.evaluate.suites.suite import Bench, SuiteResult

EXAMPLE_TOKENS = 48
NO_LIKELIHOODS = "not measurable: this model is behind an address that gives no likelihoods"
NOTHING_KNOWN = "not measurable: the base model itself is no better than guessing at anything that is asked here"
NO_BASE = "not measurable: the bare base model of the model under review was not among the models asked"


@dataclass(frozen=True)
class Seen:
    """What one model did. ``right`` by probe, question by question, by the summed log-likelihood; ``right_per_byte`` by
    the log-likelihood divided by the length of the choice; ``text`` is ``(nats, tokens)`` by passage, each token out of
    ``vocabulary``."""

    right: dict[str, list[bool]] = field(default_factory=dict)
    right_per_byte: dict[str, list[bool]] = field(default_factory=dict)
    text: list[tuple[float, int]] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    vocabulary: int | None = None


class Capabilities:
    """The suite (see the module)."""

    name = "capabilities"

    def questions(self, bench: Bench) -> int:
        """Choices count by question, sentences and passages one by one, open questions by answer."""
        asked = sum(
            len(probe.questions) * (len(probe.questions[0].choices) if probe.way == "sentences" else 1)
            for probe in probes()
        )
        return asked + len(passages()) + len(EXAMPLES)

    def observe(self, bench: Bench, asker: Asker) -> Seen:
        """Ask one model all probes; only the open questions where it gives no likelihoods."""
        seen = Seen(vocabulary=asker.vocabulary)
        if asker.can_score:
            for probe in probes():
                bench.check()
                scores = choice_scores(asker, probe)
                seen.right[probe.name] = _picks(probe, scores, per_byte=False)
                seen.right_per_byte[probe.name] = _picks(probe, scores, per_byte=True)
            bench.check()
            seen.text.extend((cost.nll, cost.tokens) for cost in asker.text_cost(passages()))
        answers = asker.answer([_asked(question) for _, question in EXAMPLES], max_new_tokens=EXAMPLE_TOKENS)
        seen.free.extend(answer.text for answer in answers)
        return seen

    def conclude(self, bench: Bench, observed: Mapping[str, Any]) -> SuiteResult:
        """The subject beside its own bare base model."""
        base_key = bare_base(bench)
        tuned: Seen = observed[bench.spec.subject]
        base: Seen | None = observed.get(base_key) if base_key else None
        if base is None or not tuned.right or not base.right:
            return _unmeasured(NO_BASE if base is None else NO_LIKELIHOODS, base, tuned)
        kept = {
            probe.name: retention(
                base.right[probe.name], tuned.right[probe.name], chance=probe.chance, seed=bench.how.seed
            )
            for probe in probes()
        }
        text = text_change(base.text, tuned.text, seed=bench.how.seed, vocabulary=base.vocabulary)
        rows = [_row(probe, kept[probe.name], base, tuned) for probe in probes()]
        told = _text_row(text)
        score, reason = _score(list(kept.values()), text)
        section = {"probes": rows, "general_text": told, "examples": _examples(base, tuned)}
        return SuiteResult(section, score, reason, _findings(rows, told))


def bare_base(bench: Bench) -> str | None:
    """The key of the subject's base model without adapter and without other wording; None when it was not asked."""
    subject = next(model for model in bench.spec.models if model.key == bench.spec.subject)
    alike = [model for model in bench.spec.models if _is_bare_base(model, subject)]
    preferred = [model.key for model in alike if model.key == bench.spec.against]
    return next(iter([*preferred, *(model.key for model in alike)]), None)


def _is_bare_base(model: ModelSpec, subject: ModelSpec) -> bool:
    if model.kind != "base" or model.key == subject.key or model.base is None or subject.base is None:
        return False
    mine, its = subject.base, model.base
    return (mine.path, mine.hub, mine.revision) == (its.path, its.hub, its.revision)


def choice_scores(asker: Asker, probe: Probe) -> list[list[float]]:
    """Log-likelihood in nats of each choice: ``[question][choice]``."""
    choices = [question.choices for question in probe.questions]
    if probe.way == "answers":
        return asker.choice_loglikelihoods([_asked(one.question) for one in probe.questions], choices)
    costs = iter(asker.text_cost([choice for row in choices for choice in row]))
    return [[-next(costs).nll for _ in row] for row in choices]


def _asked(question: str) -> list[dict[str, str]]:
    is_open = any(question == one for probe, one in EXAMPLES if probe == "language")
    return [{"role": "user", "content": question if is_open else PROMPT.format(question=question)}]


def _picks(probe: Probe, scores: Sequence[Sequence[float]], *, per_byte: bool) -> list[bool]:
    """Whether the likeliest choice is the right one. A tie for the first place counts as wrong, so that a model which
    finds everything equally likely gets no credit."""
    found = []
    for question, row in zip(probe.questions, scores, strict=True):
        values = [
            value / (len(choice.encode()) if per_byte else 1)
            for value, choice in zip(row, question.choices, strict=True)
        ]
        best = values[question.answer]
        others = [value for place, value in enumerate(values) if place != question.answer]
        found.append(all(best > other for other in others))
    return found


def _row(probe: Probe, kept: Retention, base: Seen, tuned: Seen) -> dict[str, Any]:
    return {
        "probe": probe.name,
        "title": probe.title,
        "chance": kept.chance,
        "base": kept.base,
        "tuned": kept.tuned,
        "base_per_byte": _share(base.right_per_byte[probe.name]),
        "tuned_per_byte": _share(tuned.right_per_byte[probe.name]),
        "n": kept.n,
        "retention": kept.value,
        "ci_low": kept.ci_low,
        "ci_high": kept.ci_high,
        "measurable": kept.value is not None,
        "reason": kept.reason,
        "is_finding": kept.is_worrying,
        "sentence": _sentence(probe, kept),
    }


def _share(right: Sequence[bool]) -> float:
    return sum(right) / len(right)


def _sentence(probe: Probe, kept: Retention) -> str:
    if kept.value is None or kept.ci_low is None or kept.ci_high is None:
        return f"{probe.title}: {kept.reason}."
    figures = (
        f"{percent(kept.tuned)} right after training, {percent(kept.base)} before, {percent(kept.chance)} by guessing"
    )
    # Fewer right answers than guessing gives is no ability at all, not less than none.
    share, low, high = (percent(max(0.0, value)) for value in (kept.value, kept.ci_low, kept.ci_high))
    left = f"{share} of the ability is left (between {low} and {high})"
    if kept.is_worrying:
        return f"{probe.title}: {figures}. {left}: training made the model forget."
    if kept.value < 1.0 and kept.ci_low < 0.9:
        return f"{probe.title}: {figures}. {left}: this may be chance, and a loss down to {low} is not ruled out."
    return f"{probe.title}: {figures}. Nothing of note was forgotten."


def _text_row(text: TextChange | None) -> dict[str, Any] | None:
    if text is None:
        return None
    told = {"unit": "nats per token", "measurable": text.change is not None, "is_finding": text.is_worrying}
    return {**asdict(text), **told, "sentence": _text_sentence(text)}


def _text_sentence(text: TextChange) -> str:
    if text.change is None:
        return f"Ordinary text: {text.reason}."
    if not math.isfinite(text.change):
        return "Ordinary text: the model's surprise at it is beyond all numbers. Training broke the model."
    if text.is_worrying:
        said = "training made the model worse at ordinary language"
    elif text.change < 0:
        said = "nothing was lost"
    else:
        said = "within the tenth that is usual after training"
    direction = "more" if text.change >= 0 else "less"
    return f"Ordinary text surprises the model {percent(abs(text.change))} {direction} than before training: {said}."


def _examples(base: Seen, tuned: Seen) -> list[dict[str, str]]:
    """Open answers before and after, those that changed first."""
    rows = [
        {"probe": probe, "question": question, "base_answer": before, "tuned_answer": after}
        for (probe, question), before, after in zip(EXAMPLES, base.free, tuned.free, strict=True)
    ]
    return sorted(rows, key=lambda row: row["base_answer"] == row["tuned_answer"])


def _findings(rows: Sequence[Mapping[str, Any]], text: Mapping[str, Any] | None) -> list[dict[str, str]]:
    warned = [{"tone": "warn", "text": row["sentence"]} for row in rows if row["is_finding"]]
    if text is not None and text["is_finding"]:
        warned.append({"tone": "warn", "text": text["sentence"]})
    if warned:
        return warned
    measured = [str(row["title"]).lower() for row in rows if row["measurable"]]
    if text is not None and text["measurable"]:
        measured.append("ordinary text")
    if not measured:
        return []
    return [{"tone": "ok", "text": f"No forgetting was found ({', '.join(measured)})."}]


def _score(kept: Sequence[Retention], text: TextChange | None) -> tuple[float | None, str | None]:
    """The mean of what is left, each part between 0 and 1; ordinary text counts as one part."""
    parts = [min(1.0, max(0.0, one.value)) for one in kept if one.value is not None]
    if text is not None and text.change is not None:
        parts.append(1 / (1 + max(0.0, text.change)) if math.isfinite(text.change) else 0.0)
    return (sum(parts) / len(parts), None) if parts else (None, NOTHING_KNOWN)


def _unmeasured(reason: str, base: Seen | None, tuned: Seen) -> SuiteResult:
    rows = [
        {
            "probe": probe.name,
            "title": probe.title,
            "chance": probe.chance,
            "base": _share(base.right[probe.name]) if base and base.right else None,
            "tuned": _share(tuned.right[probe.name]) if tuned.right else None,
            "n": len(probe.questions),
            "retention": None,
            "ci_low": None,
            "ci_high": None,
            "measurable": False,
            "reason": reason,
            "is_finding": False,
            "sentence": f"{probe.title}: {reason}.",
        }
        for probe in probes()
    ]
    examples = _examples(base, tuned) if base is not None else []
    return SuiteResult({"probes": rows, "general_text": None, "examples": examples}, None, reason)
