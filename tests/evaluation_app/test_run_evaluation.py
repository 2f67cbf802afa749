"""One real evaluation: real import, real training of a few steps, real child process, real report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

pytestmark = pytest.mark.django_db(transaction=True)
LABELS = ["Termination", "Payment", "Confidentiality"]
KEY = "sk-evaluation-test-key-5678"


@pytest.fixture
def model(actor, run_jobs):
    """A model trained for a moment on sixty clauses."""
    from datasets_app.operations import create_dataset, store_upload
    from jobs_app.models import TrainedModel
    from jobs_app.operations import start_training

    rows = [
        {
            "text": f"Clause {i}: the party shall within {i + 3} days do {i}.",
            "label": LABELS[i % 3],
            "desk": f"d{i % 2}",
        }
        for i in range(60)
    ]
    file = SimpleUploadedFile("clauses.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    dataset = create_dataset(actor=actor, upload=store_upload(actor=actor, file=file, name=file.name), name="Clauses")
    start_training(
        actor=actor, name="Clauses", base_model_key="demo-base", dataset=dataset, spec={"num_train_epochs": 1}
    )
    run_jobs()
    return TrainedModel.objects.get()


@pytest.fixture
def provider(actor, httpserver, settings):
    """A server that speaks OpenAI's protocol and always answers “Payment”; the project's key there."""
    from jobs_app.operations.connections import add_connection

    settings.OUTBOUND_ALLOWED_HOSTS = [f"{httpserver.host}:{httpserver.port}", httpserver.host]
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "always-payment",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Payment"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13},
    }
    httpserver.expect_request("/v1/chat/completions", method="POST").respond_with_json(answer)
    return add_connection(actor=actor, name="Elsewhere", base_url=httpserver.url_for("/v1").rstrip("/"), key=KEY)


def write_questions(path: Path) -> None:
    """Twelve rows to learn from and two to be asked, as the engine freezes them."""
    import polars as pl

    rows = [
        {
            "row": row,
            "split": "train" if row < 12 else "test",
            "messages": json.dumps(
                [{"role": "user", "content": f"Who pays bill {row}?"}, {"role": "assistant", "content": "The buyer"}]
            ),
            "prompt": f"Who pays bill {row}?",
            "answer": "The buyer",
            "label": None,
            "metadata": "{}",
        }
        for row in range(14)
    ]
    pl.DataFrame(rows, schema_overrides={"label": pl.String}).write_parquet(path)


def asked(httpserver) -> list[dict]:
    return [request for request, _response in httpserver.log if request.path == "/v1/chat/completions"]


@pytest.mark.slow
def test_four_models_answer_the_same_rows_and_nothing_is_asked_twice(
    actor, model, provider, httpserver, run_jobs, client, api_key, tmp_path
) -> None:
    from evaluation_app.operations import ContenderWish, repeat_evaluation, start_evaluation

    evaluation = start_evaluation(
        actor=actor,
        trained_model=model,
        others=[
            ContenderWish(system="Answer with one of: Termination, Payment, Confidentiality.", shots=2),
            ContenderWish(connection=provider, remote_name="always-payment"),
        ],
        settings={"slices": {"columns": ["desk"]}},
        cost_approved=True,
    )
    run_jobs()
    evaluation.refresh_from_db()
    assert evaluation.work.state == "succeeded", evaluation.work.failure
    assert evaluation.verdict in {"ship", "do_not_ship", "more_cases"}
    assert evaluation.verdict_sentence == evaluation.report["verdict"]["sentence"]
    n = evaluation.snapshot.counts["test"]
    assert (evaluation.report["n"], evaluation.cases, evaluation.headline) == (n, n, "accuracy")
    kinds = {entry["key"]: entry["kind"] for entry in evaluation.report["models"]}
    assert kinds == {"base": "base", "tuned": "trained", "model_2": "prompted", "model_3": "endpoint"}
    assert 0 <= evaluation.headline_low <= evaluation.headline_value <= evaluation.headline_high <= 1

    headers = {"Authorization": f"Bearer {api_key('read')}"}
    samples = client.get(f"/api/v1/evaluations/{evaluation.pk}/samples", headers=headers).json()["data"]
    assert len(samples) == n
    assert {row["reference"] for row in samples} <= set(LABELS)
    assert {row["answers"]["model_3"]["answer"] for row in samples} == {"Payment"}

    requests = asked(httpserver)
    assert {request.headers["Authorization"] for request in requests} == {f"Bearer {KEY}"}
    told = json.dumps(list(evaluation.work.events.values_list("data", flat=True))) + json.dumps(evaluation.report)
    assert KEY not in told, "the key reached an event or the report"

    again = repeat_evaluation(actor=actor, evaluation=evaluation, cost_approved=True)
    run_jobs()
    again.refresh_from_db()
    assert again.work.state == "succeeded", again.work.failure
    assert again.repeated_from == evaluation
    assert len(asked(httpserver)) == len(requests), "what is known is not asked again"
    assert again.headline_value == evaluation.headline_value


@pytest.mark.slow
def test_a_model_that_its_provider_keeps_is_judged_without_a_machine_of_ours(
    actor, snapshot, trained_model, provider, httpserver, tmp_path
) -> None:
    from evaluation_app.operations import start_evaluation
    from jobs_app.models import BaseModel
    from work_kit.files import store_file
    from work_kit.supervisor import run_waiting

    write_questions(tmp_path / "snapshot.parquet")
    snapshot.storage_prefix = f"snapshots/{snapshot.pk}"
    store_file(tmp_path / "snapshot.parquet", f"{snapshot.storage_prefix}/snapshot.parquet")
    snapshot.counts, snapshot.task_type, snapshot.sha256 = {"train": 12, "validation": 3, "test": 2}, "completion", ""
    snapshot.save()
    BaseModel.objects.create(
        key="their-base", name="Their base", provider="endpoint", location="their-model", base_url=provider.base_url
    )
    training = trained_model.training_job
    training.remote = {"base_url": provider.base_url}
    training.save()
    trained_model.base_model_key, trained_model.connection = "their-base", provider
    trained_model.remote_name, trained_model.storage_prefix = "ft:their-model:abc", ""
    trained_model.save()
    evaluation = start_evaluation(actor=actor, trained_model=trained_model, suites=["cost"], cost_approved=True)
    assert run_waiting("gpu") == 0, "no training machine is asked for"
    assert run_waiting("remote") == 1
    evaluation.refresh_from_db()
    assert evaluation.work.state == "succeeded", evaluation.work.failure
    assert {model["kind"] for model in evaluation.report["models"]} == {"endpoint"}
    assert {json.loads(request.data)["model"] for request in asked(httpserver)} == {"their-model", "ft:their-model:abc"}
    assert (evaluation.cases, evaluation.headline) == (2, "f1")
