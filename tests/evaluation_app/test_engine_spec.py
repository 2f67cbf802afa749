"""What the engine is told: everything it needs, and no key."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from evaluation_app.operations import ContenderWish, start_evaluation
from finetune_engine.errors import UserError
from work_kit.kinds import kind_of

pytestmark = pytest.mark.django_db
KEY = "sk-elsewhere-key-0123456789"


@pytest.fixture
def stored(snapshot, trained_model):
    """The snapshot's and the model's folders exist."""
    import polars as pl
    from django.core.files.storage import default_storage

    snapshot.storage_prefix = f"snapshots/{snapshot.pk}"
    snapshot.save()
    folders = [Path(default_storage.path(owner.storage_prefix)) for owner in (snapshot, trained_model)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"metadata": ['{"desk": "d1"}', "{}"]}).write_parquet(folders[0] / "snapshot.parquet")
    return snapshot


@pytest.fixture
def spec_of(actor, trained_model, stored, tmp_path):
    def make(*others, **more):
        evaluation = start_evaluation(
            actor=actor, trained_model=trained_model, others=others, cost_approved=True, **more
        )
        arguments = kind_of("evaluation.run").prepare(evaluation.work, tmp_path / "work")
        assert arguments[0] == "evaluate"
        return json.loads((tmp_path / "work" / "spec.json").read_text()), evaluation

    return make


def test_the_engine_accepts_what_is_written(spec_of, connection) -> None:
    from finetune_engine.evaluate.spec import spec_of as read

    raw, _evaluation = spec_of(
        ContenderWish(system="Name it.", shots=2),
        ContenderWish(connection=connection, remote_name="their-model"),
        suites=["robustness", "fairness", "cost"],
        settings={
            "weights": {"quality": 60, "robustness": 40},
            "slices": {"columns": ["desk"]},
            "fairness": {"lists": {"places": [["Berlin"], ["Lagos"]]}},
            "judge": {"connection": connection.pk, "model": "judge-model"},
            "discordance": 0.3,
            "headline": "exact_match",
        },
    )
    spec = read(raw)
    assert [model.kind for model in spec.models] == ["base", "trained", "prompted", "endpoint"]
    assert (spec.subject, spec.against, spec.headline, spec.discordance) == ("tuned", "base", "exact_match", 0.3)
    assert spec.weights == {"quality": 0.6, "robustness": 0.4}
    assert (spec.slices.columns, spec.judge.endpoint.model) == (("desk",), "judge-model")


def test_no_key_stands_in_the_file_but_its_variable_does(spec_of, connection) -> None:
    raw, evaluation = spec_of(
        ContenderWish(connection=connection, remote_name="their-model"),
        settings={"judge": {"connection": connection.pk, "model": "judge-model"}},
    )
    assert KEY not in json.dumps(raw)
    variables = {raw["models"][2]["endpoint"]["key_variable"], raw["judge"]["key_variable"]}
    assert kind_of("evaluation.run").secrets(evaluation.work) == dict.fromkeys(variables, KEY)


def test_a_key_is_never_sent_to_another_address(spec_of, connection) -> None:
    _raw, evaluation = spec_of(ContenderWish(connection=connection, remote_name="their-model"))
    connection.base_url = "https://evil.example.com/v1"
    connection.save()
    with pytest.raises(UserError, match="no longer there"):
        kind_of("evaluation.run").secrets(evaluation.work)


def test_a_deleted_connection_ends_it_with_the_way_out(spec_of, connection) -> None:
    _raw, evaluation = spec_of(ContenderWish(connection=connection, remote_name="their-model"))
    connection.delete()
    with pytest.raises(UserError, match="Providers and budget"):
        kind_of("evaluation.run").secrets(evaluation.work)


def test_the_rules_and_cases_of_the_project_go_along(spec_of, project) -> None:
    from evaluation_app.models import AcceptanceRule, RegressionCase

    AcceptanceRule.objects.create(project=project, name="Polite", kind="contains", demand={"texts": ["please"]})
    AcceptanceRule.objects.create(project=project, name="Gone", kind="contains", removed_at=timezone.now())
    RegressionCase.objects.create(project=project, messages=[{"role": "user", "content": "Who?"}], expected="Us")
    raw, _evaluation = spec_of()
    assert [rule["name"] for rule in raw["rules"]] == ["Polite"]
    assert [case["expected"] for case in raw["regressions"]] == ["Us"]


def test_prices_come_from_the_catalogue_with_their_source_and_day(spec_of, connection, priced) -> None:
    raw, _evaluation = spec_of(ContenderWish(connection=connection, remote_name="their-model"))
    price = raw["cost"]["prices"]["model_2"]
    assert (price["input_per_million"], price["currency"], price["at"]) == (900.0, "USD", "2026-11-01")
    assert price["source"] == "https://models.example.com/prices"
    assert all({"name", "input_per_million", "source", "at"} <= set(other) for other in raw["cost"]["alternatives"])
    assert "Their base" in {other["name"] for other in raw["cost"]["alternatives"]}


def test_what_the_training_took_goes_along(spec_of, trained_model, monkeypatch) -> None:
    monkeypatch.setenv("MACHINE_HOUR_COST", "2.00 EUR")
    work = trained_model.training_job.work
    work.started_at = timezone.now() - timedelta(seconds=1800)
    work.finished_at, work.device = work.started_at + timedelta(seconds=1800), "cuda:0"
    work.save()
    raw, _evaluation = spec_of()
    assert raw["cost"]["training"] == {
        "seconds": 1800.0, "device": "cuda:0", "device_hours": 0.5, "amount": 1.0, "currency": "EUR",
    }  # fmt: skip
    assert raw["cost"]["device_hour"] == {"amount": 2.0, "currency": "EUR"}


def test_every_attempt_finds_the_projects_own_store_of_answers(spec_of, project, settings) -> None:
    first, evaluation = spec_of()
    evaluation.work.attempt = 2
    assert first["answer_store"] == str(settings.CACHE_DIR / "answers" / f"{project.pk}.sqlite")


def test_an_old_evaluation_is_told_as_before(spec_of, tmp_path) -> None:
    _raw, evaluation = spec_of()
    evaluation.contenders.all().delete()
    kind_of("evaluation.run").prepare(evaluation.work, tmp_path / "again")
    raw = json.loads((tmp_path / "again" / "spec.json").read_text())
    assert [(model["key"], bool(model["adapter"])) for model in raw["models"]] == [("base", False), ("tuned", True)]


def test_a_trained_model_that_is_gone_is_never_replaced_by_its_base(actor, trained_model, stored, tmp_path) -> None:
    evaluation = start_evaluation(actor=actor, trained_model=trained_model)
    evaluation.contenders.create(key="model_2", kind="trained", name="Gone", base_model_key="demo-base")
    with pytest.raises(UserError) as error:
        kind_of("evaluation.run").prepare(evaluation.work, tmp_path / "work")
    assert error.value.code == "model_deleted"


def test_the_operators_key_never_stands_in_for_a_projects_own(
    actor, trained_model, stored, monkeypatch, connection
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-operators-key-0123456789")
    connection.base_url = "https://api.openai.com/v1"
    connection.save()
    evaluation = start_evaluation(
        actor=actor,
        trained_model=trained_model,
        others=[ContenderWish(connection=connection, remote_name="gpt-dear")],
        cost_approved=True,
    )
    connection.delete()
    with pytest.raises(UserError) as error:
        kind_of("evaluation.run").secrets(evaluation.work)
    assert error.value.code == "no_connection"


def test_the_character_that_postgresql_refuses_is_taken_out_of_a_report(evaluation, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text(json.dumps({"worst": [{"base_answer": "a\0b"}]}))
    (tmp_path / "out" / "samples.parquet").write_bytes(b"PAR1")
    saved = kind_of("evaluation.run").save(evaluation.work, tmp_path)
    assert saved["report"] == {"worst": [{"base_answer": "a\ufffdb"}]}
