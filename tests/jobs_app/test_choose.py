"""The page and the calls that rank base models and tell what training takes."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from jobs_app import queries
from jobs_app.models import ProviderConnection
from work_kit.models import Job, JobEvent, Worker
from work_kit.queries import database_now

pytestmark = pytest.mark.django_db
GIGA = 10**9


@pytest.fixture
def counted(snapshot):
    """The snapshot with the figures of its rows."""
    snapshot.statistics = {"avg_prompt_length": 20, "avg_completion_length": 2, "avg_tokens": 30.0, "max_tokens": 60}
    snapshot.dataset.statistics = snapshot.statistics
    snapshot.dataset.save()
    snapshot.save()
    return snapshot


@pytest.fixture
def worker(db):
    """A worker that takes trainings, on a machine of 8 GB."""
    now = database_now()
    return Worker.objects.create(
        name="box-1",
        host="box",
        queue="gpu",
        device="cpu",
        pid=1,
        started_at=now,
        heartbeat_at=now,
        memory_bytes=8 * GIGA,
        memory_free_bytes=6 * GIGA,
    )


def post(client, headers, call, body):
    return client.post(f"/api/v1/{call}", body, content_type="application/json", headers=headers)


def test_the_page_ranks_what_can_start_first_and_closed_models_last(client_for, viewer, project, counted):
    page = client_for(viewer).get(f"/p/{project.slug}/train/choose")
    ranked = [*page.context["first"], *page.context["others"]]
    assert ranked[0].card.key == "demo-base"
    assert {one.card.status for one in ranked[-3:]} == {"closed"}


def test_wishes_in_the_address_change_the_points(client_for, viewer, project, counted):
    page = client_for(viewer).get(f"/p/{project.slug}/train/choose", {"privacy": "high", "budget": "low"})
    terms = {term.name: term.points for term in page.context["first"][0].recommendation.terms}
    assert (terms["privacy"], terms["budget"]) == (30, 20)


def test_a_closing_maker_is_shown_with_source_and_date(client_for, viewer, project):
    page = client_for(viewer).get(f"/p/{project.slug}/train/choose").content.decode()
    assert "OpenAI closes its self-serve fine-tuning" in page
    assert "developers.openai.com/api/docs/deprecations" in page
    assert "2026-11-22" in page


def test_the_call_ranks_with_reasons_and_says_unknown_as_null(client, headers, counted):
    told = post(client, headers, "recommendations", {"snapshot": counted.pk, "privacy": "high"}).json()["data"]
    paid = next(one for one in told if one["model"] == "gpt-4.1")
    assert told[0]["model"] == "demo-base"
    assert told[0]["reasons"]
    assert paid["estimated_cost"] is None
    assert paid["is_private"] is False


def test_an_estimate_has_ranges_and_says_what_it_rests_on(client, headers, counted, worker):
    told = post(client, headers, "estimates", {"base_model": "demo-base", "snapshot": counted.pk}).json()
    assert told["steps"]["expected"] == 6  # 32 examples, 16 at a time, three times
    assert told["fits"] is True
    assert told["assumptions"]


def test_a_large_model_does_not_fit_a_small_machine(client, headers, counted, worker):
    told = post(client, headers, "estimates", {"base_model": "qwen3-8b", "snapshot": counted.pk}).json()
    assert (told["fit"], told["fits"]) == ("too_large", False)


def test_another_projects_data_is_not_there(client, headers, counted, outsider):
    from accounts_app.models import Project

    counted.project = Project.objects.exclude(pk=counted.project_id).get()
    counted.save()
    assert post(client, headers, "estimates", {"base_model": "demo-base", "snapshot": counted.pk}).status_code == 404


def test_earlier_runs_on_the_machine_replace_the_guess(trained, counted, worker):
    Job.objects.filter(pk=trained.training_job_id).update(host="box")
    for step in range(3):
        data = {"step": step, "tokens_per_second": 500.0}
        JobEvent.objects.create(job_id=trained.training_job_id, attempt=1, kind="metric", data=data, at=database_now())
    told = queries.estimate_training(queries.find_base_model("demo-base"), counted, {})
    assert told.measured_by == "run"


def test_a_test_run_counts_before_earlier_runs_and_tells_the_memory(actor, counted, worker):
    from jobs_app.operations import start_probe

    job = start_probe(actor=actor, base_model_key="demo-base", snapshot=counted, spec={})
    figures = {"tokens_per_second": 900.0, "seconds_to_first_step": 2.0, "peak_bytes_train": 700_000_000}
    Job.objects.filter(pk=job.pk).update(state="succeeded", host="box", result={"probe": figures})
    card = queries.find_base_model("demo-base")
    told = queries.estimate_training(card, counted, {})
    assert (told.measured_by, told.memory_bytes.expected) == ("probe", 700_000_000)
    assert queries.estimate_training(card, counted, {"peft": "full"}).memory_bytes.expected != 700_000_000


def test_a_provider_without_a_key_cannot_be_chosen_and_with_one_can(project, actor):
    assert not queries.find_base_model("gpt-4o-mini", project).is_available
    ProviderConnection.objects.create(
        project=project, name="OpenAI", base_url="https://api.openai.com/v1", secret="x", last_four="1234"
    )
    assert queries.usable_base_model("gpt-4o-mini", project).is_remote


def test_an_endpoint_is_added_with_its_facts_and_open_to_projects_with_a_key(project):
    call_command(
        "add_base_model",
        "house-llm",
        "llama-house",
        base_url="https://llm.example.org/v1",
        context_length=8192,
        training_price="2.50",
        currency="EUR",
    )
    card = queries.find_base_model("house-llm", project)
    assert (card.is_remote, card.context_length, card.remote_model) == (True, 8192, "llama-house")
    assert str(card.entry.price.training_per_million) == "2.50"
    assert not card.is_available


def test_the_operators_file_changes_and_adds_entries(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    (tmp_path / "models.toml").write_text(
        '[[models]]\nkey = "smollm2-135m"\nlicence = "Ours"\n\n[[models]]\nkey = "mine"\nname = "Mine"\n'
        'provider = "hub"\nhub = "us/mine"\nlicence = "MIT"\nmin_examples = 1\nrecommended_examples = 2\n'
        'strengths = []\nstatus = "available"\n'
    )
    assert queries.catalogue()["smollm2-135m"].licence == "Ours"
    assert queries.catalogue()["smollm2-135m"].parameters == 134_515_008
    assert queries.find_base_model("mine").name == "Mine"
    assert queries.catalogue_problem() == ""


@pytest.mark.parametrize("text", ["[[models]]\nkey = 3", "no toml at all", '[[models]]\nkey = "x"\ncolour = 1'])
def test_a_mistake_in_the_operators_file_is_told_and_breaks_nothing(settings, tmp_path, text):
    settings.DATA_DIR = tmp_path
    (tmp_path / "models.toml").write_text(text)
    assert "models.toml is not used" in queries.catalogue_problem()
    assert queries.find_base_model("demo-base") is not None


@pytest.mark.parametrize(("name", "most"), [("choose", 12), ("advice", 12)])
def test_the_pages_ask_the_database_a_dozen_times_at_most(
    client_for, viewer, project, counted, worker, name, most, django_assert_max_num_queries
):
    browser = client_for(viewer)
    with django_assert_max_num_queries(most):
        browser.get(f"/p/{project.slug}/train/{name}")
