"""The page that starts a training."""

from __future__ import annotations

import pytest

from jobs_app.models import TrainingJob

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(project):
    return f"/p/{project.slug}/train/new"


@pytest.fixture
def form(snapshot):
    return {"examples": f"snapshot:{snapshot.pk}", "base_model": "demo-base", "preset": "balanced"}


def test_without_data_the_page_leads_to_the_data(client_for, owner, project, url):
    page = client_for(owner).get(url).content.decode()
    assert "There is nothing to learn from yet" in page
    assert f"/p/{project.slug}/data/" in page


def test_the_page_offers_the_data_and_greys_what_cannot_be_trained(client_for, trainer, url, snapshot):
    page = client_for(trainer).get(url, {"snapshot": snapshot.pk}).content.decode()
    assert f'value="snapshot:{snapshot.pk}" selected' in page
    assert "Demo base" in page
    assert "Closed: its maker offers no new training" in page


def test_a_preset_and_a_field_of_advanced_become_settings(client_for, trainer, url, form):
    answer = client_for(trainer).post(url, form | {"preset": "thorough", "learning_rate": "2e-4", "packing": "false"})
    training = TrainingJob.objects.get()
    assert answer.status_code == 302
    assert answer["Location"].endswith(training.pk)
    assert training.spec["learning_rate"] == 2e-4
    assert training.spec["packing"] is False
    assert training.spec["r"] == 32


def test_every_mistake_is_shown_beside_its_field_with_422(client_for, trainer, url, form):
    answer = client_for(trainer).post(url, form | {"r": "many", "num_train_epochs": "0", "base_model": "gpt-4"})
    errors = answer.context["form"].errors
    assert answer.status_code == 422
    assert {"r", "num_train_epochs", "base_model"} <= set(errors)
    assert '<details class="fold section" open>' in answer.content.decode()
    assert not TrainingJob.objects.exists()


def test_a_bad_suffix_is_told_at_its_field(client_for, trainer, url, form):
    answer = client_for(trainer).post(url, form | {"suffix": "a:b"})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["suffix"])


def test_a_double_click_starts_one_training(client_for, trainer, url, form):
    browser = client_for(trainer)
    places = {browser.post(url, form | {"idempotency_key": "once"})["Location"] for _ in range(2)}
    assert len(places) == TrainingJob.objects.count() == 1


def test_data_of_another_project_cannot_be_chosen(client_for, trainer, outsider, url, form, snapshot):
    from accounts_app.models import Project

    snapshot.project = Project.objects.exclude(pk=snapshot.project_id).get()
    snapshot.save()
    assert client_for(trainer).post(url, form).status_code == 422


@pytest.mark.parametrize("who", ["reviewer", "viewer"])
def test_reviewers_and_viewers_may_not_start_one(request, client_for, url, form, who):
    browser = client_for(request.getfixturevalue(who))
    assert browser.get(url).status_code == 403
    assert browser.post(url, form).status_code == 403


def test_an_outsider_sees_no_project(client_for, outsider, url):
    assert client_for(outsider).get(url).status_code == 404


def test_the_form_tells_what_it_will_take_and_keeps_it_with_the_training(client_for, trainer, url, form, snapshot):
    snapshot.statistics = {"avg_prompt_length": 20, "avg_completion_length": 2, "avg_tokens": 30.0, "max_tokens": 60}
    snapshot.save()
    client_for(trainer).post(url, form)
    assert TrainingJob.objects.get().estimate["steps"]["expected"] == 6


def test_a_change_in_the_form_gives_another_estimate_as_a_fragment(client_for, trainer, url, form, snapshot):
    snapshot.statistics = {"avg_prompt_length": 20, "avg_completion_length": 2, "avg_tokens": 30.0, "max_tokens": 60}
    snapshot.save()
    answer = client_for(trainer).post(f"{url}/estimate", form | {"num_train_epochs": "10"}, headers={"HX-Request": "1"})
    fragment = answer.content.decode().strip()
    assert fragment.startswith("<aside")
    assert "10 to 20" in fragment  # steps: 2 a pass, and it may stop after half of them
    assert not TrainingJob.objects.exists()


def test_settings_that_cannot_be_used_ask_to_be_mended_instead_of_an_estimate(client_for, trainer, url, form):
    answer = client_for(trainer).post(f"{url}/estimate", form | {"r": "many"}, headers={"HX-Request": "1"})
    assert "Mend the marked settings" in answer.content.decode()


def test_a_clone_begins_with_the_settings_of_its_training(client_for, trainer, url, start, snapshot):
    first = start(spec={"r": 4, "packing": False, "learning_rate": 2e-4})
    page = client_for(trainer).get(url, {"clone": first.pk})
    shown = {name: page.context["form"][name].value() for name in ("r", "packing", "learning_rate", "examples")}
    assert shown == {"r": "4", "packing": "false", "learning_rate": "0.0002", "examples": f"snapshot:{snapshot.pk}"}


def test_a_training_started_from_a_clone_remembers_it(client_for, trainer, url, form, start):
    first = start(spec={})
    client_for(trainer).post(url, form | {"clone": first.pk})
    assert TrainingJob.objects.exclude(pk=first.pk).get().cloned_from == first


def test_another_projects_training_cannot_be_cloned(client_for, trainer, url, start, outsider):
    from accounts_app.models import Project

    first = start(spec={})
    TrainingJob.objects.update(project=Project.objects.exclude(pk=first.project_id).get())
    assert client_for(trainer).get(url, {"clone": first.pk}).status_code == 404


def test_an_earlier_model_and_rows_of_their_own_go_with_the_training(client_for, trainer, url, form, trained, upload):
    from datasets_app.models import Dataset

    other = Dataset.objects.create(
        project=trained.project, upload=upload, name="Checked rows", state="ready", task_type="classification",
        total=9, accepted=9, import_attempt=1,
    )  # fmt: skip
    client_for(trainer).post(url, form | {"parent_model": trained.pk, "validation": other.pk})
    training = TrainingJob.objects.exclude(pk=trained.training_job_id).get()
    assert (training.parent_model, training.validation_dataset) == (trained, other)


def test_checking_with_what_it_learns_from_is_told_at_its_field(client_for, trainer, url, form, dataset):
    values = form | {"examples": f"dataset:{dataset.pk}", "validation": dataset.pk}
    answer = client_for(trainer).post(url, values)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["validation"]


def test_pairs_of_answers_choose_their_method_themselves(client_for, trainer, url, form, snapshot):
    from datasets_app.models import Dataset, Snapshot

    Dataset.objects.update(task_type="preference", format="preference")
    Snapshot.objects.update(task_type="preference")
    client_for(trainer).post(url, form)
    assert TrainingJob.objects.get().spec["method"] == "dpo"


def test_a_paid_training_asks_before_it_starts(client_for, trainer, url, form, project):
    from jobs_app.models import ProviderConnection

    ProviderConnection.objects.create(
        project=project, name="OpenAI", base_url="https://api.openai.com/v1", secret="x", last_four="1234"
    )
    answer = client_for(trainer).post(url, form | {"base_model": "gpt-4o-mini"})
    assert answer.status_code == 422
    assert "cost_approved" in answer.context["form"].errors
    answer = client_for(trainer).post(url, form | {"base_model": "gpt-4o-mini", "cost_approved": "on"})
    assert answer.status_code == 302
