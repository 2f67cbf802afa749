"""Which base model suits: a score from visible weights, each point with its sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any

from finetune_engine.catalogue.catalogue import CatalogueEntry
from finetune_engine.errors import UserError

LEVELS = ("low", "medium", "high")
LATENCIES = ("any", "fast")
FAST_PARAMETERS = 2_000_000_000
HIGH_QUALITY = "high quality"

# The method's own weights.
ENOUGH, SOME, TOO_FEW = 30, 15, -20
CHEAP, PAID, PRIVATE, GOOD = 20, 25, 30, 20
# Ours, shown apart.
FITS, TIGHT, TOO_LARGE = 15, -5, -40
CONTEXT_SHORT, QUICK, ASK_FIRST, OUTDATED, CLOSING, AT_HAND, LEAVES = -30, 10, -5, -15, -30, 5, -40


@dataclass(frozen=True)
class Wishes:
    """What matters. ``longest_tokens`` is the data's own longest example (None: unknown)."""

    example_count: int = 0
    budget: str = "medium"
    privacy: str = "medium"
    performance: str = "medium"
    latency: str = "any"
    longest_tokens: int | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Wishes:
        """Read a form's or a program's wishes. Raises UserError ``bad_answer`` naming the field."""
        known = {item.name for item in fields(cls)}
        for name in raw:
            if name not in known:
                raise _bad(str(name), f"There is no wish {name!r}. They are {', '.join(sorted(known))}.")
        wishes = cls(**dict(raw))
        for name, allowed in (("budget", LEVELS), ("privacy", LEVELS), ("performance", LEVELS), ("latency", LATENCIES)):
            if getattr(wishes, name) not in allowed:
                raise _bad(name, f"{name} is one of {', '.join(allowed)}.")
        for name, value in (("example_count", wishes.example_count), ("longest_tokens", wishes.longest_tokens)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            if not whole and not (name == "longest_tokens" and value is None):
                raise _bad(name, f"{name} is a whole number from 0.")
        return wishes


def _bad(name: str, sentence: str) -> UserError:
    return UserError("bad_answer", sentence, field=name)


@dataclass(frozen=True)
class Candidate:
    """A base model and what this site knows of it here. ``fit`` is that of an estimate; ``can_start`` whether a training
    could start now; ``is_here`` that nothing has to be downloaded."""

    entry: CatalogueEntry
    fit: str = "unknown"
    can_start: bool = True
    is_here: bool = False


@dataclass(frozen=True)
class Term:
    """Points for one reason. ``is_ours`` marks what is not part of the method's own score."""

    name: str
    points: int
    sentence: str
    is_ours: bool = False


@dataclass(frozen=True)
class Recommendation:
    """A ranked model. ``score`` is the sum of all terms, ``base_score`` of the method's own."""

    key: str
    score: int
    base_score: int
    terms: tuple[Term, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences, the weightiest first."""
        return tuple(term.sentence for term in sorted(self.terms, key=lambda term: -abs(term.points)))

    def as_dict(self) -> dict[str, Any]:
        """For the API."""
        return {
            "model": self.key,
            "score": self.score,
            "base_score": self.base_score,
            "reasons": list(self.reasons),
            "terms": [asdict(term) for term in self.terms],
        }


def recommend(candidates: Sequence[Candidate], wishes: Wishes, *, today: date) -> list[Recommendation]:
    """The candidates, best first; those that cannot be started after all that can, closed ones last."""

    def order(pair: tuple[Candidate, Recommendation]) -> tuple[bool, bool, int]:
        candidate, found = pair
        return candidate.entry.status_on(today) == "closed", not candidate.can_start, -found.score

    ranked = [(candidate, score(candidate, wishes, today=today)) for candidate in candidates]
    return [found for _candidate, found in sorted(ranked, key=order)]


def score(candidate: Candidate, wishes: Wishes, *, today: date) -> Recommendation:
    """All points of one model."""
    entry = candidate.entry
    terms = tuple(
        term
        for term in (
            _examples(entry, wishes),
            _budget(entry, wishes),
            _privacy(entry, wishes),
            _performance(entry, wishes),
            _fit(candidate),
            _context(entry, wishes),
            _latency(entry, wishes),
            _licence(entry),
            _status(entry, today),
            _at_hand(candidate),
            _leaves(entry, wishes),
        )
        if term is not None
    )
    base = sum(term.points for term in terms if not term.is_ours)
    return Recommendation(entry.key, sum(term.points for term in terms), base, terms)


def _examples(entry: CatalogueEntry, wishes: Wishes) -> Term:
    count = wishes.example_count
    if count >= entry.recommended_examples:
        return Term(
            "examples", ENOUGH, f"Your {count:,} examples are as many as it wants ({entry.recommended_examples:,})."
        )
    if count >= entry.min_examples:
        sentence = f"Your {count:,} examples are enough to begin; {entry.recommended_examples:,} are better."
        return Term("examples", SOME, sentence)
    return Term("examples", TOO_FEW, f"It wants at least {entry.min_examples:,} examples, and you have {count:,}.")


def _budget(entry: CatalogueEntry, wishes: Wishes) -> Term | None:
    if wishes.budget == "low" and entry.is_self_hosted:
        return Term("budget", CHEAP, "It costs nothing but the time of your own machine.")
    if wishes.budget == "high" and entry.provider == "openai":
        return Term("budget", PAID, "Your budget allows a paid service, which needs no machine of yours.")
    return None


def _privacy(entry: CatalogueEntry, wishes: Wishes) -> Term | None:
    if wishes.privacy == "high" and entry.is_open:
        return Term("privacy", PRIVATE, "Your examples stay in your house.")
    return None


def _performance(entry: CatalogueEntry, wishes: Wishes) -> Term | None:
    if wishes.performance == "high" and HIGH_QUALITY in entry.strengths:
        return Term("performance", GOOD, "It is among the stronger models for its kind.")
    return None


def _fit(candidate: Candidate) -> Term | None:
    points = {"fits": FITS, "tight": TIGHT, "too_large": TOO_LARGE}.get(candidate.fit)
    if points is None or not candidate.entry.is_self_hosted:
        return None
    sentence = {
        "fits": "It fits this machine.",
        "tight": "It may just fit this machine; a short test run tells.",
        "too_large": "It needs more memory than this machine has.",
    }[candidate.fit]
    return Term("hardware", points, sentence, is_ours=True)


def _context(entry: CatalogueEntry, wishes: Wishes) -> Term | None:
    longest, reads = wishes.longest_tokens, entry.context_length
    if longest is None or reads is None or longest <= reads:
        return None
    sentence = (
        f"Your longest example has about {longest:,} tokens, and it reads only {reads:,}: long ones would be cut."
    )
    return Term("context", CONTEXT_SHORT, sentence, is_ours=True)


def _latency(entry: CatalogueEntry, wishes: Wishes) -> Term | None:
    small = entry.parameters is not None and entry.parameters <= FAST_PARAMETERS
    if wishes.latency == "fast" and (small or "fast" in entry.strengths):
        return Term("latency", QUICK, "It is small and answers fast.", is_ours=True)
    return None


def _licence(entry: CatalogueEntry) -> Term | None:
    if not entry.needs_permission:
        return None
    return Term("licence", ASK_FIRST, f"Its maker must grant access first ({entry.licence}).", is_ours=True)


def _status(entry: CatalogueEntry, today: date) -> Term | None:
    status = entry.status_on(today)
    if status == "available":
        return None
    if status == "deprecated" and entry.shuts_down_on is not None:
        day = entry.shuts_down_on.isoformat()
        return Term(
            "status", CLOSING, f"Its maker switches it off on {day}, with everything trained on it.", is_ours=True
        )
    word = (
        "Its maker takes no new training." if status == "closed" else "It is outdated; choose a newer one for new work."
    )
    return Term("status", OUTDATED, word, is_ours=True)


def _at_hand(candidate: Candidate) -> Term | None:
    if candidate.is_here:
        return Term("at hand", AT_HAND, "It is on this machine already.", is_ours=True)
    return None


def _leaves(entry: CatalogueEntry, wishes: Wishes) -> Term | None:
    if wishes.privacy == "high" and not entry.is_open:
        return Term("privacy", LEAVES, "Your examples would leave your house.", is_ours=True)
    return None
