"""Advice and recommendation for a project, from what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from accounts_app.models import Project
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries import datasets_of
from finetune_engine.catalogue.advice import Situation
from finetune_engine.catalogue.estimate import DataFacts, Estimate, Measurement
from finetune_engine.catalogue.recommend import Candidate, Recommendation, Wishes, recommend
from finetune_engine.errors import UserError
from finetune_engine.train.spec import TrainingSpec
from jobs_app.models import AdviceAnswers
from jobs_app.queries.base_models import BaseModelCard, base_models
from jobs_app.queries.estimates import Machine, data_facts, estimate_training, fits, machine, probed


@dataclass(frozen=True)
class ProjectData:
    """What the project's newest checked dataset says of itself. ``good_share`` is None without rows."""

    dataset: Dataset | None
    examples: int
    good_share: float | None
    longest_tokens: int | None

    @property
    def is_there(self) -> bool:
        """Whether anything has been uploaded and checked."""
        return self.dataset is not None


def project_data(project: Project) -> ProjectData:
    """The newest dataset that is ready, in figures."""
    dataset = datasets_of(project).filter(state="ready").first()
    if dataset is None:
        return ProjectData(None, 0, None, None)
    facts = data_facts(dataset)
    share = dataset.accepted / dataset.total if dataset.total else None
    return ProjectData(dataset, dataset.usable, share, _longest(facts))


def _longest(facts: DataFacts | None) -> int | None:
    return round(facts.tokens(facts.longest, "").expected) if facts is not None else None


def kept_answers(project: Project) -> dict[str, Any]:
    """What was answered last time; empty before the first."""
    answers = AdviceAnswers.objects.filter(project=project).values_list("answers", flat=True).first()
    return dict(answers or {})


def kept_verdict(project: Project) -> str:
    """The last verdict: fine_tune, prompt, collect_data, or nothing before the first."""
    return AdviceAnswers.objects.filter(project=project).values_list("verdict", flat=True).first() or ""


def prefilled(kept: Mapping[str, Any], data: ProjectData) -> dict[str, Any]:
    """Answers to begin with: those of last time (``kept_answers``), and what the data says where it says something."""
    told = {"examples": data.examples, "good_share": data.good_share} if data.is_there else {}
    return {**Situation().as_dict(), **kept, **told}


def wishes_of(project: Project, data: ProjectData) -> Wishes:
    """Wishes to begin with, from the advice's answers and the data."""
    answers = kept_answers(project)
    return Wishes(
        example_count=data.examples or int(answers.get("examples") or 0),
        privacy=str(answers.get("privacy") or "medium"),
        latency="fast" if answers.get("fast_answers") else "any",
        longest_tokens=data.longest_tokens,
    )


@dataclass(frozen=True)
class RankedModel:
    """A base model with its score and, where there is data, what training it would take."""

    rank: int
    card: BaseModelCard
    recommendation: Recommendation
    fit: str
    estimate: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """For the API: the method's own words ``model, score, reasons, specs, estimated_cost``, and more."""
        told = self.estimate
        return self.recommendation.as_dict() | {
            "rank": self.rank,
            "specs": self.card.as_dict(),
            "fit": self.fit,
            "is_private": not self.card.is_remote,
            "can_start": self.card.is_available,
            "estimated_cost": told.money.as_dict() if told and told.money else None,
            "estimated_seconds": told.seconds.as_dict() if told and told.seconds else None,
            "estimated_memory_bytes": told.memory_bytes.as_dict() if told and told.memory_bytes else None,
        }


def ranked_models(project: Project, wishes: Wishes, data: Snapshot | Dataset | None = None) -> list[RankedModel]:
    """All base models, best first, for these wishes."""
    place = machine()
    known = probed(place.host, TrainingSpec())
    facts = data_facts(data) if data is not None else None
    cards = {card.key: card for card in base_models(project)}
    fit = {key: "unknown" if card.is_remote else fits(card, facts, place) for key, card in cards.items()}
    candidates = [
        Candidate(card.entry, fit[card.key], card.is_available, card.is_here and not card.is_remote)
        for card in cards.values()
    ]
    found = recommend(candidates, wishes, today=timezone.localdate())
    return [
        RankedModel(rank, cards[one.key], one, fit[one.key], _told(cards[one.key], data, place, known))
        for rank, one in enumerate(found, 1)
    ]


def _told(
    card: BaseModelCard, data: Snapshot | Dataset | None, place: Machine, known: Mapping[str, Measurement]
) -> Estimate | None:
    try:
        return estimate_training(card, data, {}, on=place, known=known)
    except UserError:  # no data yet: the cards go without
        return None
