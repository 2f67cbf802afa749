"""A dataset whose rows can be looked at, and the common context of its pages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from datasets_app.choices import DatasetState
from datasets_app.models import Dataset
from datasets_app.views.detail import dataset_of
from finetune_engine.errors import UserError
from web_kit.htmx import is_htmx


def ready_dataset(actor: Actor, dataset_id: str) -> Dataset:
    """The project's dataset with this id. Raises Http404, or UserError (409) while there are no rows yet."""
    dataset = dataset_of(actor, dataset_id)
    if dataset.state != DatasetState.READY:
        raise UserError("dataset_not_ready", _("The rows can be looked at once the check is done."), status=409)
    return dataset


def page_context(actor: Actor, dataset: Dataset) -> dict[str, Any]:
    """What every page of a dataset needs."""
    return {
        "actor": actor,
        "dataset": dataset,
        "may_review": actor.may(Act.REVIEW),
        "may_train": actor.may(Act.TRAIN),
    }


def row_number(text: str | None) -> int:
    """A row number from the address; 0 for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def is_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks, so that the part of the page that changed is enough."""
    return is_htmx(request)
