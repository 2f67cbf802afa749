"""The JSON twin of the pages before a training: advice, base models, recommendation, estimate."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, ConfigDict, Field

from accounts_app.api import key_auth
from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.models import Dataset, Snapshot
from finetune_engine.catalogue.advice import Situation, advise
from finetune_engine.catalogue.recommend import Wishes
from finetune_engine.errors import UserError
from jobs_app import queries
from jobs_app.api.training import mine

router = Router(tags=["before training"])


class AdviceIn(BaseModel):
    """The situation. What is left out is as a careful person would guess; ``dataset`` fills in what data says."""

    model_config = ConfigDict(extra="forbid")

    dataset: str | None = Field(None, description="Id of a dataset, for examples and good_share.")
    specificity: str = Field("medium", description="How special the field is: low, medium or high.")
    examples: int | None = Field(None, ge=0, description="Usable examples.")
    good_share: float | None = Field(None, ge=0, le=1, description="Share of rows without a remark.")
    monthly_requests: int | None = Field(None, ge=0)
    fast_answers: bool = False
    privacy: str = Field("medium", description="low, medium or high.")
    changes: str = Field("rarely", description="How often what is asked for changes: rarely, monthly, weekly, daily.")
    facts_change: bool = Field(False, description="Whether the facts in the answers change.")
    tried_prompting: bool = False


class RecommendationIn(BaseModel):
    """What matters when choosing a base model."""

    model_config = ConfigDict(extra="forbid")

    dataset: str | None = None
    snapshot: str | None = None
    example_count: int | None = Field(None, ge=0, description="Left out: those of the data.")
    budget: str = Field("medium", description="low, medium or high.")
    privacy: str = Field("medium", description="low, medium or high.")
    performance: str = Field("medium", description="low, medium or high.")
    latency: str = Field("any", description="any or fast.")
    context: int | None = Field(None, ge=1, description="Tokens of the longest example. Left out: that of the data.")


class EstimateIn(BaseModel):
    """A training that is not started."""

    model_config = ConfigDict(extra="forbid")

    base_model: str
    dataset: str | None = None
    snapshot: str | None = None
    validation_dataset: str | None = None
    training: dict[str, Any] = Field(
        default_factory=dict, description="TrainingSpec fields that differ from the default."
    )


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


@router.post("/advice", auth=key_auth(Act.VIEW), summary="Should you fine-tune?")
def give_advice(request: HttpRequest, body: AdviceIn) -> dict[str, Any]:
    """``verdict`` is ``fine_tune``, ``prompt`` or ``collect_data``; with reasons, and what would change it."""
    answers = body.model_dump(exclude={"dataset"})
    dataset: Dataset | None = mine(_actor(request), Dataset, body.dataset, "dataset")
    if dataset is not None:
        told = {"examples": dataset.usable, "good_share": dataset.accepted / dataset.total if dataset.total else None}
        answers |= {name: value for name, value in told.items() if answers[name] is None}
    answers["examples"] = answers["examples"] or 0
    return advise(Situation.from_dict(answers)).as_dict()


@router.get("/base-models", auth=key_auth(Act.VIEW), summary="Base models that can be trained here")
def list_base_models(request: HttpRequest) -> dict[str, Any]:
    """Each with what is known of it and whether it can be used on this machine; null is unknown."""
    return {"data": [card.as_dict() for card in queries.base_models(_actor(request).project)], "next_cursor": None}


@router.post("/recommendations", auth=key_auth(Act.VIEW), summary="Which base model suits")
def give_recommendations(request: HttpRequest, body: RecommendationIn) -> dict[str, Any]:
    """All base models, best first: ``model, score, reasons, specs, estimated_cost`` and the points of each reason."""
    actor = _actor(request)
    snapshot = mine(actor, Snapshot, body.snapshot, "snapshot")
    data = snapshot or mine(actor, Dataset, body.dataset, "dataset")
    facts = queries.data_facts(data)
    wishes = Wishes.from_dict(
        {
            "example_count": body.example_count if body.example_count is not None else facts.rows if facts else 0,
            "budget": body.budget,
            "privacy": body.privacy,
            "performance": body.performance,
            "latency": body.latency,
            "longest_tokens": body.context
            or (round(facts.tokens(facts.longest, "").expected) if facts is not None else None),
        }
    )
    ranked = queries.ranked_models(actor.project, wishes, data)
    return {"data": [one.as_dict() for one in ranked], "next_cursor": None, "wishes": vars(wishes)}


@router.post("/estimates", auth=key_auth(Act.VIEW), summary="What a training would take")
def give_estimate(request: HttpRequest, body: EstimateIn) -> dict[str, Any]:
    """Ranges of tokens, steps, seconds, money and memory, whether it ``fits``, and what was assumed; null is unknown."""
    actor = _actor(request)
    data = mine(actor, Snapshot, body.snapshot, "snapshot") or mine(actor, Dataset, body.dataset, "dataset")
    if data is None:
        raise UserError("data_missing", "Name the data: a snapshot or a dataset.", field="snapshot")
    validation = mine(actor, Dataset, body.validation_dataset, "validation_dataset")
    card = queries.find_base_model(body.base_model, actor.project)
    if card is None:
        raise UserError("unknown_base_model", f"There is no base model {body.base_model!r}.", field="base_model")
    return queries.estimate_training(card, data, body.training, validation=validation).as_dict()
