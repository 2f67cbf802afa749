"""Running an evaluation again, and what changed since."""

from __future__ import annotations

import pytest

from datasets_app.models import Snapshot
from evaluation_app.operations import keep_report, repeat_evaluation
from evaluation_app.queries.lineage import lineage_of
from work_kit.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def newer(snapshot) -> Snapshot:
    return Snapshot.objects.create(
        project=snapshot.project, dataset=snapshot.dataset, number=2, state="ready", sha256="2" * 64,
        task_type="classification", counts=snapshot.counts, storage_prefix="snapshots/two",
    )  # fmt: skip


def test_the_newest_data_has_nothing_newer(done) -> None:
    assert lineage_of(done).newer is None


def test_newer_data_is_named(done, newer) -> None:
    assert lineage_of(done).newer == newer


def test_a_repetition_knows_what_it_repeats_and_how_the_figure_moved(actor, done, newer, report) -> None:
    again = repeat_evaluation(actor=actor, evaluation=done)
    keep_report(evaluation_id=again.pk, report=report, samples_name="")
    Job.objects.filter(pk=again.pk).update(state="succeeded")
    again.refresh_from_db()
    found = lineage_of(again)
    assert again.snapshot == newer
    assert found.origin is not None
    assert (found.origin.before.id, found.origin.after.headline_words) == (done.pk, "82.5%")
    assert found.origin.is_same_figure


def test_what_was_repeated_lists_its_repetitions(actor, done, newer) -> None:
    again = repeat_evaluation(actor=actor, evaluation=done)
    (change,) = lineage_of(done).repeats
    assert change.after.id == again.pk
    assert not change.is_same_figure, "it has no figure yet"


def test_the_page_offers_to_run_it_again_on_newer_data(client_for, trainer, project, done, newer) -> None:
    client = client_for(trainer)
    text = client.get(f"/p/{project.slug}/results/{done.pk}").content.decode()
    assert "snapshot 2 was frozen since" in text
    response = client.post(f"/p/{project.slug}/results/{done.pk}/repeat")
    assert response.status_code == 302
    assert done.repeats.get().snapshot == newer


def test_a_viewer_is_not_offered_to_run_it_again(client_for, viewer, project, done, newer) -> None:
    assert "Run again" not in client_for(viewer).get(f"/p/{project.slug}/results/{done.pk}").content.decode()


def _hidden_key(text: str, action: str) -> str:
    form = text.split(f'action="{action}"')[1].split("</form>")[0]
    return form.split('name="idempotency_key" value="')[1].split('"')[0]


def test_a_double_click_on_run_again_starts_one(client_for, trainer, project, done, newer) -> None:
    client, url = client_for(trainer), f"/p/{project.slug}/results/{done.pk}"
    key = _hidden_key(client.get(url).content.decode(), f"{url}/repeat")
    first, second = (client.post(f"{url}/repeat", {"idempotency_key": key})["Location"] for _ in range(2))
    assert first == second
    assert done.repeats.count() == 1


def test_one_that_failed_is_run_again_with_all_its_models(client_for, trainer, project, actor, trained_model) -> None:
    from evaluation_app.models import Evaluation
    from evaluation_app.operations import ContenderWish, start_evaluation

    failed = start_evaluation(
        actor=actor, trained_model=trained_model, others=[ContenderWish(system="Name it.")], limit=7
    )
    Job.objects.filter(pk=failed.pk).update(state="failed", failure_reason="internal")
    client, url = client_for(trainer), f"/p/{project.slug}/results/{failed.pk}"
    key = _hidden_key(client.get(url).content.decode(), f"{url}/repeat")
    client.post(f"{url}/repeat", {"idempotency_key": key, "snapshot": failed.snapshot_id})
    again = Evaluation.objects.get(repeated_from=failed)
    assert (again.contenders.count(), again.case_limit, again.snapshot) == (3, 7, failed.snapshot)


def test_running_again_asks_about_money_once_and_takes_the_yes_for_those_figures_only(
    client_for, trainer, project, actor, trained_model, connection
) -> None:
    from evaluation_app.operations import ContenderWish, start_evaluation

    theirs = ContenderWish(connection=connection, remote_name="their-model")
    first = start_evaluation(actor=actor, trained_model=trained_model, others=[theirs], cost_approved=True)
    client, url = client_for(trainer), f"/p/{project.slug}/results/{first.pk}/repeat"
    asked = client.post(url, {"idempotency_key": "once"})
    figures = asked.content.decode().split('name="cost_figures" value="')[1].split('"')[0]
    assert asked.status_code == 402
    yes = {"idempotency_key": "once", "cost_approved": "1"}
    assert client.post(url, yes | {"cost_figures": "of something else"}).status_code == 402
    assert client.post(url, yes | {"cost_figures": figures}).status_code == 302
    assert first.repeats.count() == 1
