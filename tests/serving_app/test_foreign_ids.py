"""What belongs to another project is not there, whatever one may do in one's own: by page, by form, by call."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.serving_app.judged import judged_evaluation

REQUEST = "f" * 26
IN_FORMS = {
    "deploy": {"model": "model", "evaluation": "evaluation"},
    "trial": {"model": "model"},
    "calibrate": {"evaluation": "evaluation"},
    "to_check": {"prediction": "request_id"},
    "improve_chosen": {"feedback": "feedback_id"},
    "limits": {"key": "key_id"},
    "exports": {"model": "model"},
}
"""The forms that name a thing, and which one it is."""
IN_BODIES = {
    "/deployments": {"model": "model"},
    "/exports": {"model": "model"},
    "/feedback/proposals": {"feedback": ["feedback_id"]},
    "/feedback/regression-cases": {"feedback": ["feedback_id"]},
}


@pytest.fixture
def foreign(outsider, trained) -> dict[str, str]:
    """Ids of one thing of each kind in somebody else's project, by the name of the parameter that asks for it."""
    from accounts_app.models import ApiKey, Membership
    from accounts_app.operations import create_api_key
    from serving_app import models
    from work_kit.models import Job

    there = Membership.objects.get(user=outsider).project
    model = trained("Theirs", of=there)
    create_api_key(project=there, name="theirs", scopes=["predict"])
    asked = {"project": there, "request_id": REQUEST, "model_name": "demo-base"}
    prediction = models.Prediction.objects.create(
        **asked, door="chat", latency_seconds=1.0, at=timezone.now(), needs_human=True, output="No."
    )
    entry = models.SemanticEntry.objects.create(
        project=there, model_identity="m", context_sha256="c", embedder="e", question="Q", vector=b"", answer={},
        expires_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
    serving = models.SemanticServing.objects.create(
        project=there, entry=entry, request_id=REQUEST, asked="Q?", kept_question="Q", similarity=0.97
    )
    work = Job.objects.create(project=there, kind="serving.export", queue="gpu", title="x", available_at=timezone.now())
    export = models.ModelExport.objects.create(
        id=work.pk, project=there, trained_model=model, work=work, kind="merged", storage_name="theirs.zip"
    )
    evaluation = judged_evaluation(model, n=20)
    feedback = models.Feedback.objects.create(**asked, prediction=prediction, verdict="bad", correction="Yes.")
    return {
        "model": model.pk,
        "evaluation": evaluation.pk,
        "evaluation_id": evaluation.pk,
        "deployment_id": models.Deployment.objects.create(project=there, trained_model=model, model_name="x").pk,
        "rule_id": models.AlertRule.objects.create(project=there, kind="latency", threshold=1).pk,
        "request_id": REQUEST,
        "feedback_id": feedback.pk,
        "entry_id": entry.pk,
        "serving_id": str(serving.pk),
        "export_id": export.pk,
        "key_id": ApiKey.objects.get(project=there).pk,
    }


def named_in(path: str) -> list[str]:
    """The parameters of a route, without their converters."""
    return [found.rpartition(":")[2] for found in re.findall(r"[<{]([^>}]+)[>}]", path)]


def state_of(foreign: dict[str, str]) -> list[object]:
    """Everything there that a page or call of this app could change."""
    from serving_app import models

    kinds = ("Deployment", "AlertRule", "Prediction", "Feedback", "SemanticEntry", "SemanticServing", "ModelExport")
    rows = [sorted(getattr(models, kind).objects.values_list(), key=str) for kind in (*kinds, "KeyLimit")]
    return [*rows, models.Calibration.objects.count()]


def test_no_page_shows_or_changes_what_another_project_has(client_for, owner, project, foreign) -> None:
    from serving_app import urls

    client, before, wrong = client_for(owner), state_of(foreign), []
    routes = [route for route in urls.urlpatterns if named_in(str(route.pattern))]
    assert len(routes) >= 14
    for route in routes:
        where = {name: foreign[name] for name in named_in(str(route.pattern))}
        path = reverse(f"serving:{route.name}", kwargs={"slug": project.slug, **where})
        for method in ("get", "post"):
            response = getattr(client, method)(path, {"verdict": "good", "act": "", "to": "delete"})
            if response.status_code not in (404, 405):
                wrong.append(f"{method} {path}: {response.status_code}")
    assert wrong == []
    assert state_of(foreign) == before


@pytest.mark.parametrize(("page", "fields"), IN_FORMS.items(), ids=list(IN_FORMS))
def test_no_form_takes_what_another_project_has(client_for, owner, project, foreign, page, fields) -> None:
    before = state_of(foreign)
    body = {name: foreign[kind] for name, kind in fields.items()}
    body |= {"act": "propose", "action": "right", "kind": "merged", "role": "shadow", "percent": "5"}
    response = client_for(owner).post(reverse(f"serving:{page}", args=[project.slug]), body)
    assert response.status_code in (404, 409, 422)
    assert state_of(foreign) == before


def api_calls() -> list[tuple[str, str]]:
    """``(method, path)`` of this app's calls that name a thing in their address."""
    from finetune_site.api import api

    document = api.get_openapi_schema()
    return [
        (method, path)
        for path, methods in document["paths"].items()
        for method, call in methods.items()
        if call.get("tags") == ["serving"] and named_in(path)
    ]


def test_no_call_shows_or_changes_what_another_project_has(project, api_key, foreign) -> None:
    client, wrong = Client(HTTP_AUTHORIZATION=f"Bearer {api_key('read', 'train', 'predict', 'admin')}"), []
    before = state_of(foreign)
    calls = api_calls()
    assert len(calls) >= 25
    body = {"verdict": "good", "action": "right", "model": "demo-base", "ask_human_below": 0.5, "role": "shadow"}
    for method, path in calls:
        address = re.sub(r"\{(\w+)\}", lambda found: foreign[found[1]], path)
        sent = json.dumps({} if path.endswith("/limits") else body)  # which refuses names that it does not know
        response = client.generic(method.upper(), address, sent, content_type="application/json")
        if response.status_code != 404:
            wrong.append(f"{method} {path}: {response.status_code} {response.content[:120]!r}")
    assert wrong == []
    assert state_of(foreign) == before


@pytest.mark.parametrize(("path", "fields"), IN_BODIES.items(), ids=list(IN_BODIES))
def test_no_body_names_what_another_project_has(project, api_key, foreign, path, fields) -> None:
    client, before = Client(HTTP_AUTHORIZATION=f"Bearer {api_key('admin')}"), state_of(foreign)
    body = {name: [foreign[kind[0]]] if isinstance(kind, list) else foreign[kind] for name, kind in fields.items()}
    response = client.post(f"/api/v1{path}", json.dumps(body), content_type="application/json")
    assert response.status_code == 404
    assert state_of(foreign) == before
