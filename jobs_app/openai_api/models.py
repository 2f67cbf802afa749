"""``/v1/models``."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse

from accounts_app.choices import Act
from accounts_app.permissions import Actor
from accounts_app.views.access import key_view
from finetune_engine.errors import UserError
from jobs_app import queries
from jobs_app.models import TrainedModel
from jobs_app.openai_api import format as shape
from jobs_app.openai_api.errors import openai_errors
from jobs_app.openai_api.request import refuse
from jobs_app.operations import delete_trained_model


@key_view({"GET": Act.VIEW})
@openai_errors
def collection(request: HttpRequest, actor: Actor) -> JsonResponse:
    """Base models that can be used here, and the project's trained models."""
    bases = [shape.base_model_object(card) for card in queries.base_models(actor.project) if card.is_available]
    tuned = [shape.trained_model_object(model) for model in queries.trained_models(actor.project)]
    return JsonResponse({"object": "list", "data": tuned + bases})


@key_view({"GET": Act.VIEW, "DELETE": Act.OWN})
@openai_errors
def one(request: HttpRequest, actor: Actor, model_name: str) -> JsonResponse:
    """One model; DELETE removes a trained one with its files."""
    model = TrainedModel.objects.filter(project=actor.project, api_name=model_name).first()
    if request.method == "DELETE":
        if model is None:
            raise (
                _missing(model_name)
                if model_name.startswith("ft:")
                else refuse("model", "Only trained models can be deleted.", "model_not_deletable")
            )
        delete_trained_model(actor=actor, model=model)
        return JsonResponse({"id": model_name, "object": "model", "deleted": True})
    if model is not None:
        return JsonResponse(shape.trained_model_object(model))
    checkpoint = queries.find_checkpoint(model_name, actor.project)
    if checkpoint is not None:
        return JsonResponse(
            {
                "id": model_name,
                "object": "model",
                "created": shape.unix(checkpoint.created_at),
                "owned_by": actor.project.slug,
            }
        )
    card = queries.find_base_model(model_name)
    if card is None:
        raise _missing(model_name)
    return JsonResponse(shape.base_model_object(card))


def _missing(model_name: str) -> UserError:
    return UserError("model_not_found", f"The model {model_name!r} does not exist.", field="model", status=404)
