"""Calls of the ``openai`` package that make no sense on a site of one's own: each says so instead of a bare 404."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import key_view
from finetune_engine.errors import UserError


@key_view({"GET": Act.VIEW, "POST": Act.OWN, "DELETE": Act.OWN})
def checkpoint_permissions(
    request: HttpRequest, actor: Actor, checkpoint: str, permission_id: str = ""
) -> JsonResponse:
    """``client.fine_tuning.checkpoints.permissions``."""
    raise UserError(
        "not_offered",
        "Checkpoints are not shared between projects here. Everybody in this project may use its models; a copy can be "
        "downloaded on the model's page.",
        status=404,
    )


@key_view({"POST": Act.TRAIN})
def graders(request: HttpRequest, actor: Actor, act: str) -> JsonResponse:
    """``client.fine_tuning.alpha.graders``."""
    raise UserError(
        "not_offered",
        "Graders belong to reinforcement fine-tuning, which is not offered here. To score a model's answers, use the "
        "evaluations of the project (POST /api/v1/evaluations).",
        status=404,
    )
