"""A page and a list of the API take as many queries for many rows as for few."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from web_kit.ids import new_id

FEW, MANY = 3, 40
PAGES = {
    "": "deployments",
    "predictions": "predictions",
    "to-check": "predictions",
    "improve": "feedback",
    "caches": "servings",
    "caches/entries": "servings",
    "alerts": "alerts",
    "limits": "keys",
    "exports": "exports",
    "trial": "deployments",
    "watch": "buckets",
}
LISTS = {
    "/deployments": "deployments",
    "/predictions": "predictions",
    "/predictions/to-check": "predictions",
    "/feedback": "feedback",
    "/improvement": "feedback",
    "/caches/entries": "servings",
    "/caches/servings": "servings",
    "/alerts": "alerts",
    "/alert-rules": "alerts",
    "/exports": "exports",
    "/keys": "keys",
    "/usage?by=key": "buckets",
    "/watch": "buckets",
}


@pytest.fixture
def more(project, owner, trained) -> Callable[[str, int], None]:
    """``more("exports", 3)``: so many more rows of a kind, each pointing to rows of its own where it can."""

    def prediction(number: int):
        from serving_app.models import Prediction

        return Prediction.objects.create(
            request_id=new_id(), project=project, door="chat", model_name="m", at=timezone.now(), latency_seconds=0.1,
            deployment=deployment(number), needs_human=True, question_text="May I?", output="Yes.", user=owner,
        )  # fmt: skip

    def deployment(number: int):
        from serving_app.models import Deployment

        model = trained(f"Model {number}")
        return Deployment.objects.create(
            project=project, trained_model=model, model_name=model.api_name, state="retired", created_by=owner,
            role="shadow" if number % 2 else "main",
        )  # fmt: skip

    def feedback(number: int) -> None:
        from serving_app.models import Feedback

        asked = prediction(number)
        Feedback.objects.create(
            project=project, prediction=asked, request_id=asked.request_id, deployment=asked.deployment, verdict="bad",
            model_name=asked.model_name, by_user=owner, messages=[{"role": "user", "content": f"May I {number}?"}],
            correction="No.",
        )  # fmt: skip

    def serving(number: int) -> None:
        from serving_app.models import SemanticEntry, SemanticServing

        entry = SemanticEntry.objects.create(
            project=project, model_identity="m", context_sha256="c", embedder="e", question="Q", vector=b"", answer={},
            expires_at=timezone.now() + timedelta(days=1), denied_by=owner,
        )  # fmt: skip
        SemanticServing.objects.create(
            project=project, entry=entry, request_id=new_id(), asked="Q?", kept_question="Q", similarity=0.97,
            verdict="right", judged_by=owner, judged_at=timezone.now(),
        )  # fmt: skip

    def alert(number: int) -> None:
        from serving_app.models import Alert, AlertRule

        rule = AlertRule.objects.create(project=project, kind="latency", threshold=number + 1)
        Alert.objects.create(project=project, rule=rule, sentence="Slow.")

    def key(number: int) -> None:
        from accounts_app.operations import create_api_key
        from serving_app.models import KeyLimit

        made, _text = create_api_key(project=project, name=f"key {number}", scopes=["predict"])
        KeyLimit.objects.create(api_key=made, requests_per_minute=number)

    def export(number: int) -> None:
        from serving_app.models import ModelExport
        from work_kit.models import Job

        work = Job.objects.create(
            project=project,
            kind="serving.export",
            queue="gpu",
            title="x",
            state="succeeded",
            available_at=timezone.now(),
        )
        ModelExport.objects.create(
            id=work.pk, project=project, trained_model=trained(f"Model {number}"), work=work, kind="merged"
        )

    def bucket(number: int) -> None:
        from serving_app.models import TrafficBucket

        TrafficBucket.objects.create(
            project=project, model_name=f"m{number}", deployment_ref=deployment(number).pk, key_ref=str(number),
            start_at=timezone.now() - timedelta(minutes=20), requests=1,
        )  # fmt: skip

    kinds = {
        "deployments": deployment, "predictions": prediction, "feedback": feedback, "servings": serving, "alerts": alert,
        "keys": key, "exports": export, "buckets": bucket,
    }  # fmt: skip

    def make(kind: str, count: int) -> None:
        for number in range(count):
            kinds[kind](number)

    return make


def queries(call: Callable[[], HttpResponse]) -> int:
    call()  # what is looked up once in a process is there afterwards
    with CaptureQueriesContext(connection) as seen:
        response = call()
    assert response.status_code == 200
    return len(seen)


@pytest.mark.parametrize(("page", "kind"), PAGES.items(), ids=[name or "use" for name in PAGES])
def test_a_page_takes_no_query_for_each_row(client_for, owner, actor, project, more, page, kind) -> None:
    from serving_app.operations import deploy_model

    deploy_model(actor=actor, base_model_key="demo-base")
    client = client_for(owner)
    more(kind, FEW)
    few = queries(lambda: client.get(f"/p/{project.slug}/use/{page}"))
    more(kind, MANY)
    assert queries(lambda: client.get(f"/p/{project.slug}/use/{page}")) <= few


@pytest.mark.parametrize(("path", "kind"), LISTS.items(), ids=list(LISTS))
def test_a_list_of_the_api_takes_no_query_for_each_row(client, api_key, project, more, path, kind) -> None:
    key = {"Authorization": f"Bearer {api_key('read')}"}
    more(kind, FEW)
    few = queries(lambda: client.get(f"/api/v1{path}", headers=key))
    more(kind, MANY)
    assert queries(lambda: client.get(f"/api/v1{path}", headers=key)) <= few
