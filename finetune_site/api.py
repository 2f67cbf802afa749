"""The native API: one document, one page, every app's router."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from datasets_app.api import router as datasets
from datasets_app.api_policy import router as data_policy
from datasets_app.api_review import router as review
from datasets_app.api_snapshots import router as snapshots
from datasets_app.api_uploads import router as uploads
from evaluation_app.api import router as evaluations
from evaluation_app.api.over_time import router as evaluations_over_time
from evaluation_app.api.regressions import router as regressions
from evaluation_app.api.reports import router as reports
from evaluation_app.api.reviews import router as human_reviews
from evaluation_app.api.rules import router as rules
from finetune_engine import __version__
from finetune_engine.errors import UserError
from finetune_site.comparison_views import router as comparisons
from finetune_site.provenance_api import router as provenance
from jobs_app.api import router as jobs
from jobs_app.api.advice import router as job_advice
from jobs_app.api.connections import router as providers
from jobs_app.api.models import router as job_models
from serving_app.api.alerts import router as alerts
from serving_app.api.caches import router as caches
from serving_app.api.confidence import router as confidence
from serving_app.api.deployments import router as deployments
from serving_app.api.exports import router as exports
from serving_app.api.feedback import router as feedback
from serving_app.api.improvement import router as improvement
from serving_app.api.limits import router as key_limits
from serving_app.api.predictions import router as predictions
from serving_app.api.to_check import router as to_check
from serving_app.api.usage import router as usage
from serving_app.api.watch import router as watch
from web_kit.errors import answer_to, json_error
from work_kit.notifications.api import router as webhooks

api = NinjaAPI(
    title="Tunesmith",
    version=__version__,
    description="Upload examples, fine-tune, evaluate, deploy. Every call takes `Authorization: Bearer tsk_...`.",
    docs_url=None,
    urls_namespace="api",
)
_ROUTERS = [datasets, review, uploads, data_policy, snapshots, provenance]
_ROUTERS += [job_advice, jobs, job_models, providers, comparisons]
# "evaluations/compare" stands before "evaluations/{id}".
_ROUTERS += [evaluations_over_time, evaluations, reports, human_reviews, rules, regressions]
# "predictions/to-check" stands before "predictions/{id}".
_ROUTERS += [confidence, to_check]
_ROUTERS += [watch, alerts, deployments, exports, predictions, feedback, improvement, webhooks]
_ROUTERS += [key_limits, usage]
_ROUTERS += [caches]
for _router in _ROUTERS:
    api.add_router("", _router)


@api.exception_handler(UserError)
def user_error(request: HttpRequest, error: UserError) -> HttpResponse:
    """What the person can mend, in the one error shape."""
    return json_error(request, error)


@api.exception_handler(Http404)
@api.exception_handler(PermissionDenied)
def refused(request: HttpRequest, error: Exception) -> HttpResponse:
    """Missing, another project's, or not allowed: the same shape as everywhere."""
    answer = answer_to(request, error)
    assert answer is not None  # both kinds are known there
    return answer


@api.exception_handler(ValidationError)
def validation_error(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """The first mistake in the call, naming its field; all of them in the message."""
    # A location is (where, parameter, field...): only the last parts name what the caller wrote.
    mistakes = [
        (".".join(str(part) for part in item.get("loc", [])[1:] if part != "payload"), str(item.get("msg", "")))
        for item in error.errors
    ]
    sentence = "; ".join(f"{field}: {message}" if field else message for field, message in mistakes)
    return json_error(
        request, UserError("invalid_request", sentence or "The call is not valid.", field=mistakes[0][0] or None)
    )


@api.exception_handler(HttpError)
def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """What ninja itself refuses (a body that is not JSON)."""
    return json_error(request, UserError("invalid_request", str(error), status=error.status_code))
