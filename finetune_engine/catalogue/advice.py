"""Should you fine-tune at all? Rules from the method's criteria; pure, so that anybody can read and question them.

The criteria: how special the field is, 500 to 1,000 and more good examples, volume and economics, answer time, privacy, and
how often what is asked for changes. Fine-tuning teaches *how* to answer; facts that change belong into retrieval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from finetune_engine.errors import UserError

ENOUGH_EXAMPLES, MANY_EXAMPLES = 500, 1_000
FEWEST_EXAMPLES = 50
GOOD_SHARE = 0.8  # of the rows: fewer and the data teaches its mistakes
HIGH_VOLUME = 10_000  # answers a month from which shorter prompts and smaller models pay
LEVELS = ("low", "medium", "high")
CHANGES = ("rarely", "monthly", "weekly", "daily")
VERDICTS = ("fine_tune", "prompt", "collect_data")
FINE_TUNE_FROM = 2  # points; below it, writing better instructions is the honest advice


@dataclass(frozen=True)
class Situation:
    """The answers of the form. ``examples`` are usable ones; ``good_share`` is the share of rows without a finding that
    matters (0..1, None: unknown); ``monthly_requests`` None means unknown."""

    specificity: str = "medium"
    examples: int = 0
    good_share: float | None = None
    monthly_requests: int | None = None
    fast_answers: bool = False
    privacy: str = "medium"
    changes: str = "rarely"
    facts_change: bool = False
    tried_prompting: bool = False

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Situation:
        """Read the form's or a program's answers. Raises UserError ``bad_answer`` naming the field."""
        known = {item.name for item in fields(cls)}
        for name in raw:
            if name not in known:
                raise _bad(str(name), f"There is no question {name!r}. The questions are {', '.join(sorted(known))}.")
        chosen = cls(**dict(raw))
        for name in ("specificity", "privacy"):
            if getattr(chosen, name) not in LEVELS:
                raise _bad(name, f"{name} is one of {', '.join(LEVELS)}.")
        if chosen.changes not in CHANGES:
            raise _bad("changes", f"changes is one of {', '.join(CHANGES)}.")
        for name in ("fast_answers", "facts_change", "tried_prompting"):
            if not isinstance(getattr(chosen, name), bool):
                raise _bad(name, f"{name} is true or false.")
        _check_counts(chosen)
        return chosen

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def _check_counts(chosen: Situation) -> None:
    for name, value in (("examples", chosen.examples), ("monthly_requests", chosen.monthly_requests)):
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if not whole and not (name == "monthly_requests" and value is None):
            raise _bad(name, f"{name} is a whole number from 0.")
    share = chosen.good_share
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1):
        raise _bad("good_share", "good_share is a number from 0 to 1.")


def _bad(name: str, sentence: str) -> UserError:
    return UserError("bad_answer", sentence, field=name)


@dataclass(frozen=True)
class Reason:
    """One criterion: ``points`` for (above 0) or against fine-tuning, and why, in a sentence."""

    criterion: str
    points: int
    sentence: str


@dataclass(frozen=True)
class Advice:
    """The verdict, its reasons, what would change it, and whether retrieval (RAG) should be part of it."""

    verdict: str
    headline: str
    points: int
    reasons: tuple[Reason, ...]
    would_change: tuple[str, ...]
    retrieval: bool = False
    alternatives: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """For the API: ``reasons`` as sentences, ``criteria`` with their points."""
        return {
            "verdict": self.verdict,
            "headline": self.headline,
            "points": self.points,
            "reasons": [reason.sentence for reason in self.reasons],
            "criteria": [asdict(reason) for reason in self.reasons],
            "would_change": list(self.would_change),
            "retrieval": self.retrieval,
            "alternatives": list(self.alternatives),
        }


def advise(situation: Situation) -> Advice:
    """The honest answer for this situation."""
    reasons = (
        _specificity(situation),
        _examples(situation),
        _quality(situation),
        _volume(situation),
        _speed(situation),
        _privacy(situation),
        _changes(situation),
        _prompting(situation),
    )
    told = tuple(reason for reason in reasons if reason.sentence)
    points = sum(reason.points for reason in told)
    verdict = _verdict(situation, points)
    return Advice(
        verdict=verdict,
        headline=HEADLINES[verdict],
        points=points,
        reasons=tuple(sorted(told, key=lambda reason: -abs(reason.points))),
        would_change=_would_change(situation, verdict, points),
        retrieval=situation.facts_change or situation.changes in {"weekly", "daily"},
        alternatives=_alternatives(situation, verdict),
    )


HEADLINES = {
    "fine_tune": "Fine-tuning is likely to pay for this task.",
    "prompt": "Write better instructions for a ready-made model first.",
    "collect_data": "Collect more good examples first.",
}


def _verdict(at: Situation, points: int) -> str:
    if at.changes == "daily" or points < FINE_TUNE_FROM:
        return "prompt"
    if at.examples < ENOUGH_EXAMPLES or (at.good_share is not None and at.good_share < GOOD_SHARE):
        return "collect_data"
    return "fine_tune"


def _specificity(at: Situation) -> Reason:
    points, sentence = {
        "high": (3, "The task has its own words and rules, which ready-made models do not know well."),
        "medium": (1, "The task is partly special: examples teach what instructions leave open."),
        "low": (-2, "The task is a general one, and ready-made models already do it well when asked clearly."),
    }[at.specificity]
    return Reason("specificity", points, sentence)


def _examples(at: Situation) -> Reason:
    many = f"{at.examples:,} examples"
    if at.examples >= MANY_EXAMPLES:
        return Reason("examples", 3, f"{many} are enough to learn a task and to measure the result.")
    if at.examples >= ENOUGH_EXAMPLES:
        return Reason("examples", 2, f"{many} are enough to begin; {MANY_EXAMPLES:,} are better.")
    if at.examples >= FEWEST_EXAMPLES:
        return Reason(
            "examples", 0, f"{many} teach a form, hardly a field; aim for {ENOUGH_EXAMPLES} to {MANY_EXAMPLES:,}."
        )
    return Reason("examples", -1, f"{many} are too few to learn from, and to tell whether it worked.")


def _quality(at: Situation) -> Reason:
    if at.good_share is None:
        return Reason("quality", 0, "")
    percent = f"{100 * at.good_share:.0f} % of the rows"
    if at.good_share >= GOOD_SHARE:
        return Reason("quality", 1, f"{percent} passed the checks without a remark.")
    return Reason("quality", -1, f"Only {percent} passed the checks without a remark: a model learns mistakes as well.")


def _volume(at: Situation) -> Reason:
    if at.monthly_requests is None:
        return Reason("volume", 0, "")
    asked = f"{at.monthly_requests:,} answers a month"
    if at.monthly_requests >= HIGH_VOLUME:
        return Reason("volume", 2, f"{asked}: a small model of your own with short questions soon costs less.")
    if at.monthly_requests >= HIGH_VOLUME // 10:
        return Reason("volume", 1, f"{asked}: enough that the work of training spreads over many answers.")
    return Reason("volume", -1, f"{asked} are few: long instructions to a ready-made model cost little at that volume.")


def _speed(at: Situation) -> Reason:
    if not at.fast_answers:
        return Reason("latency", 0, "")
    return Reason(
        "latency", 1, "Answers must be fast: a small trained model needs no long instructions and no distant service."
    )


def _privacy(at: Situation) -> Reason:
    if at.privacy == "high":
        return Reason(
            "privacy", 2, "The texts must not leave your house: a trained open model runs on your own machine."
        )
    if at.privacy == "medium":
        return Reason("privacy", 0, "")
    return Reason("privacy", -1, "The texts may go to a service, so large ready-made models are open to you.")


def _changes(at: Situation) -> Reason:
    points, sentence = {
        "rarely": (1, "What is asked for changes rarely, so a trained model stays right for long."),
        "monthly": (0, ""),
        "weekly": (-2, "What is asked for changes every week: each change would need a new training."),
        "daily": (-4, "What is asked for changes every day, faster than a model can be trained and checked."),
    }[at.changes]
    if at.facts_change:
        points -= 1
        sentence += " The facts in the answers change: look them up when asked (retrieval), do not train them in."
    return Reason("changes", points, sentence.strip())


def _prompting(at: Situation) -> Reason:
    if at.tried_prompting:
        return Reason("prompting", 1, "Careful instructions to a ready-made model were tried and were not enough.")
    return Reason(
        "prompting", -1, "Careful instructions to a ready-made model have not been tried yet; it takes an hour."
    )


def _would_change(at: Situation, verdict: str, points: int) -> tuple[str, ...]:
    """Sentences that begin with what would have to be so."""
    if verdict == "fine_tune":
        return _against(at)
    found: list[str] = []
    if at.examples < ENOUGH_EXAMPLES:
        found.append(f"{ENOUGH_EXAMPLES - at.examples:,} more good examples ({ENOUGH_EXAMPLES} in all).")
    if at.good_share is not None and at.good_share < GOOD_SHARE:
        found.append(f"Rows mended until {100 * GOOD_SHARE:.0f} % pass the checks without a remark.")
    if verdict == "prompt":
        found += _for(at)
    return tuple(found)


def _for(at: Situation) -> list[str]:
    found = []
    if at.changes in {"weekly", "daily"}:
        found.append("The part that changes often taken out of the task and looked up instead.")
    if not at.tried_prompting:
        found.append(
            "A fair try with careful instructions and five examples in the question, that was not good enough."
        )
    if at.monthly_requests is None or at.monthly_requests < HIGH_VOLUME:
        found.append(f"{HIGH_VOLUME:,} answers a month or more.")
    if at.specificity == "low":
        found.append("A narrower task, with its own words and its own rules.")
    return found


def _against(at: Situation) -> tuple[str, ...]:
    found = ["Requirements that change every week, or facts that change: then retrieval or instructions serve better."]
    if not at.tried_prompting:
        found.append("A ready-made model with careful instructions that already answers well enough; try it first.")
    if at.privacy != "high":
        found.append("Only a few hundred answers a month, and texts that may leave your house.")
    return tuple(found)


def _alternatives(at: Situation, verdict: str) -> tuple[str, ...]:
    found = []
    if verdict != "fine_tune":
        found.append(
            "Instructions (prompting): describe the task, show three to five good answers, and ask a ready-made model."
        )
    if at.facts_change or at.changes in {"weekly", "daily"}:
        found.append(
            "Retrieval (RAG): search your documents for what the question needs and put it into the question; a trained "
            "model can be combined with it."
        )
    return tuple(found)
