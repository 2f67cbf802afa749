"""The models of an evaluation. Evaluations from before there were contenders have a base and a trained model."""

from __future__ import annotations

from dataclasses import dataclass

from evaluation_app.choices import ContenderKind
from evaluation_app.models import Contender, Evaluation


@dataclass(frozen=True)
class ContenderCard:
    """One model in plain words. ``role`` says what it is here; ``instructions`` is how it was asked otherwise, or empty."""

    key: str
    name: str
    kind: str
    role: str
    is_subject: bool
    is_reference: bool
    model_id: str | None
    instructions: str
    shots: int


def contenders_of(evaluation: Evaluation) -> list[Contender]:
    """The models that are asked, in the order of the report. Uses prefetched ones."""
    rows = list(evaluation.contenders.all())
    return rows or implied_contenders(evaluation)


def implied_contenders(evaluation: Evaluation) -> list[Contender]:
    """What an evaluation without contenders asked: the base model and the trained one. Not stored."""
    model = evaluation.trained_model
    base = Contender(
        key="base",
        kind=ContenderKind.BASE,
        name=model.base_model_key,
        base_model_key=model.base_model_key,
        is_reference=True,
    )
    tuned = Contender(
        key="tuned",
        kind=ContenderKind.TRAINED,
        name=model.name,
        trained_model=model,
        base_model_key=model.base_model_key,
        is_subject=True,
    )
    return [base, tuned]


def contender_cards(evaluation: Evaluation) -> list[ContenderCard]:
    """The models for a page."""
    return [_card(contender) for contender in contenders_of(evaluation)]


def _card(contender: Contender) -> ContenderCard:
    prompt = contender.prompt or {}
    return ContenderCard(
        key=contender.key,
        name=contender.name,
        kind=contender.kind,
        role=str(ContenderKind(contender.kind).label),
        is_subject=contender.is_subject,
        is_reference=contender.is_reference,
        model_id=contender.trained_model_id,
        instructions=str(prompt.get("system") or ""),
        shots=int(prompt.get("shots") or 0),
    )


def subject_key(evaluation: Evaluation) -> str:
    """The key of the model that the verdict is about."""
    return next((contender.key for contender in contenders_of(evaluation) if contender.is_subject), "tuned")


def reference_key(evaluation: Evaluation) -> str | None:
    """The key of the model that it is compared with; None when there is none."""
    return next((contender.key for contender in contenders_of(evaluation) if contender.is_reference), None)
