"""The page that starts an evaluation."""

from __future__ import annotations

import pytest

from evaluation_app.models import Evaluation

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(project):
    return f"/p/{project.slug}/results/new"


@pytest.fixture
def send(client_for, trainer, trained_model, url):
    """``send(**fields)``: the trainer submits the form."""
    client = client_for(trainer)
    return lambda path="", headers=None, **fields: client.post(
        url + path, {"trained_model": trained_model.pk} | fields, headers=headers
    )


@pytest.fixture
def text_of(client_for, trainer, url, trained_model):
    return lambda: client_for(trainer).get(url).content.decode()


def test_what_is_ticked_is_what_is_asked(send, connection) -> None:
    response = send(
        prompt_system="Name the kind of clause.",
        prompt_shots=["0", "4"],
        endpoint_connection=connection.pk,
        endpoint_models="their-model\nanother",
        suites=["robustness", "cost"],
        slice_columns="",
        cost_approved="on",
        discordance="30",
    )
    assert response.status_code == 302, response.content.decode()
    evaluation = Evaluation.objects.get()
    told = [(one.kind, one.prompt.get("shots"), one.remote_name) for one in evaluation.contenders.all()[2:]]
    assert told == [
        ("prompted", 0, ""), ("prompted", 4, ""), ("endpoint", None, "their-model"), ("endpoint", None, "another"),
    ]  # fmt: skip
    assert evaluation.suites == ["quality", "robustness", "cost"]
    assert evaluation.settings["discordance"] == 0.3


def test_every_suite_is_explained_and_quality_cannot_be_left_out(text_of) -> None:
    text = text_of()
    for words in ("mistype", "served alike", "How long do people wait", "forgotten", "always measured"):
        assert words in text
    quality = text[text.index('value="quality"') :]
    assert quality[: quality.index(">")].endswith("checked disabled")


def test_the_question_about_money_appears_with_its_estimate(send, connection) -> None:
    fields = {"endpoint_connection": connection.pk, "endpoint_models": "their-model"}
    response = send(**fields)
    text = response.content.decode()
    assert response.status_code == 422
    assert "about 40 questions" in text
    assert 'name="cost_approved"' in text
    assert send(cost_approved="on", **fields).status_code == 302


def test_unchanged_weights_are_not_stored_and_changed_ones_are(send) -> None:
    usual = {"quality": 50, "robustness": 20, "fairness": 10, "performance": 10, "cost": 10, "capabilities": 0}
    send(**{f"weight_{suite}": weight for suite, weight in usual.items()})
    send(**{f"weight_{suite}": weight for suite, weight in (usual | {"cost": 0, "capabilities": 10}).items()})
    changed, first = Evaluation.objects.order_by("-id")
    assert "weights" not in first.settings
    assert changed.settings["weights"]["capabilities"] == 0.1


def test_weights_that_do_not_add_up_are_shown_where_they_are(send) -> None:
    text = send(weight_quality=50, weight_cost=20).content.decode()
    assert "add up to 70 %" in text
    assert '<details class="fold section" open>' in text


def test_swap_lists_are_read_line_by_line(send) -> None:
    send(swap_lists="places: Berlin, Hamburg | Lagos, Accra\n\n", suites=["fairness"])
    assert Evaluation.objects.get().settings["fairness"]["lists"] == {
        "places": [["Berlin", "Hamburg"], ["Lagos", "Accra"]]
    }


def test_a_swap_list_that_cannot_be_read_names_its_line(send) -> None:
    assert "Line 2 is not a list" in send(swap_lists="a: b | c\nnonsense").content.decode()


def test_the_power_sentence_follows_the_fields_without_starting_anything(send) -> None:
    whole = send("/outlook", limit="10").content.decode()
    assert "10 cases: even a 15-point gain is almost always missed." in whole
    assert "<form" in whole
    part = send("/outlook", headers={"HX-Request": "true"}, discordance="40").content.decode()
    assert "your guess that the two models differ on 40 of 100 cases" in part
    assert "<form" not in part
    assert not Evaluation.objects.exists()


def test_it_says_how_many_cases_would_do(text_of) -> None:
    assert "cases would show it 8 times in 10" in text_of()


def test_an_earlier_evaluation_is_the_pilot(done, text_of) -> None:
    assert "found that the two models differ on 38 of 100 cases" in text_of(), "15 of 40"


def test_a_double_click_starts_one_evaluation(send) -> None:
    first, second = (send(idempotency_key="once")["Location"] for _ in range(2))
    assert first == second


def test_another_projects_model_cannot_be_chosen(client_for, outsider, trained_model) -> None:
    theirs = outsider.memberships.get().project
    response = client_for(outsider).post(f"/p/{theirs.slug}/results/new", {"trained_model": trained_model.pk})
    assert response.status_code == 422
    assert not Evaluation.objects.exists()


@pytest.mark.parametrize("who", ["reviewer", "viewer"])
def test_who_may_not_train_may_not_start_foresee_or_repeat(who, request, client_for, done, project) -> None:
    client = client_for(request.getfixturevalue(who))
    base = f"/p/{project.slug}/results"
    for path in (f"{base}/new", f"{base}/new/outlook", f"{base}/{done.pk}/repeat"):
        assert client.post(path).status_code == 403


def test_repeating_goes_to_the_new_evaluation(client_for, trainer, done, project) -> None:
    response = client_for(trainer).post(f"/p/{project.slug}/results/{done.pk}/repeat")
    again = Evaluation.objects.exclude(pk=done.pk).get()
    assert response["Location"] == f"/p/{project.slug}/results/{again.pk}"


def test_repeating_what_costs_money_asks_first(send, client_for, trainer, connection, project) -> None:
    send(endpoint_connection=connection.pk, endpoint_models="their-model", cost_approved="on")
    first = Evaluation.objects.get()
    url = f"/p/{project.slug}/results/{first.pk}/repeat"
    asked = client_for(trainer).post(url)
    assert asked.status_code == 402
    assert "about 40 questions" in asked.content.decode()
    assert Evaluation.objects.count() == 1
    assert client_for(trainer).post(url, {"cost_approved": "1"}).status_code == 302
    assert Evaluation.objects.exclude(pk=first.pk).get().repeated_from == first


def test_the_list_shows_the_figure_with_its_range_the_score_and_the_verdict(done, client_for, viewer, project) -> None:
    Evaluation.objects.filter(pk=done.pk).update(overall_score=0.714)
    text = client_for(viewer).get(f"/p/{project.slug}/results/").content.decode()
    assert "82.5%" in text
    assert "68.0% to 91.0%" in text
    assert "71 of 100" in text
    assert "Use it" in text


def test_a_finished_evaluation_from_before_shows_its_figure_as_well(done, client_for, viewer, project) -> None:
    Evaluation.objects.filter(pk=done.pk).update(
        headline="", headline_value=None, headline_low=None, headline_high=None, cases=None
    )
    text = client_for(viewer).get(f"/p/{project.slug}/results/").content.decode()
    assert "68.0% to 91.0%" in text
    assert "40 cases" in text


def test_the_page_takes_few_queries(
    client_for, trainer, url, trained_model, connection, django_assert_max_num_queries
) -> None:
    client = client_for(trainer)
    client.get(url)
    with django_assert_max_num_queries(12):
        client.get(url)


def test_a_form_shown_again_starts_one_however_often_it_is_sent(send, connection) -> None:
    fields = {"endpoint_connection": connection.pk, "endpoint_models": "their-model"}
    asked = send(**fields)
    assert asked.status_code == 422, "it asks about the cost first"
    key = asked.content.decode().split('name="idempotency_key" value="')[1].split('"')[0]
    for _ in range(2):
        assert send(**fields, idempotency_key=key, cost_approved="on").status_code == 302
    assert Evaluation.objects.count() == 1


def test_more_names_than_can_be_asked_are_refused_and_not_forgotten(send, connection) -> None:
    names = "\n".join(f"model-{n}" for n in range(5))
    answer = send(endpoint_connection=connection.pk, endpoint_models=names, cost_approved="on")
    assert answer.status_code == 422
    assert "Name at most 4 models." in answer.content.decode()


def test_a_judge_without_an_address_is_refused_and_not_forgotten(send, connection) -> None:
    answer = send(judge_model="judge-model")
    assert answer.status_code == 422
    assert "Choose where the judge is asked" in answer.content.decode()


def test_a_yes_to_one_price_is_no_yes_to_a_higher_one(send, connection) -> None:
    def figures(answer) -> str:
        return answer.content.decode().split('name="cost_figures" value="')[1].split('"')[0]

    fields = {"endpoint_connection": connection.pk, "endpoint_models": "their-model"}
    told = figures(send(**fields))
    dearer = fields | {"endpoint_models": "their-model\nanother", "cost_approved": "on"}
    asked = send(**dearer, cost_figures=told)
    assert asked.status_code == 422
    assert 'name="cost_approved" checked' not in asked.content.decode()
    assert send(**dearer, cost_figures=figures(asked)).status_code == 302


def test_an_error_of_a_model_that_stands_alone_is_shown_where_somebody_reads_it(send, trained_model) -> None:
    trained_model.base_model_key = "gone-base"
    trained_model.save()
    answer = send()
    assert answer.status_code == 422
    assert "gone-base" in answer.content.decode().split('id="compare-with"')[0].split("<form")[-1]
