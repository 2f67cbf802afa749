"""The playground, with and without JavaScript, on a real model."""

from __future__ import annotations

import json

import httpx
import pytest

pytestmark = pytest.mark.django_db(transaction=True)


def _signed_in(client_for, owner) -> dict[str, str]:
    return {name: morsel.value for name, morsel in client_for(owner).cookies.items()}


def _events(text: str) -> list[tuple[str, dict]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@pytest.fixture
def post(site, client_for, owner, project):
    cookies = _signed_in(client_for, owner)

    def send(fields, accept="text/event-stream"):
        with httpx.Client(cookies=cookies, timeout=120, base_url=site) as browser:
            page = browser.get(f"/p/{project.slug}/use/playground")
            token = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
            return browser.post(
                f"/p/{project.slug}/use/playground/answer",
                data={"csrfmiddlewaretoken": token, **fields},
                headers={"Accept": accept, "Referer": site, "X-CSRFToken": token},
            )

    return send


def test_the_answer_streams_word_by_word_and_is_logged_with_the_person(deployed_base, inference, post, owner) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    events = _events(post({"text": "The landlord", "max_tokens": "6"}).text)
    kinds = [kind for kind, _ in events]
    assert kinds[-1] == "done"
    assert kinds.count("token") >= 2
    done = events[-1][1]
    assert 0 < done["confidence"] <= 1
    assert done["completion_tokens"] <= 6
    assert prediction_log.flush()
    row = Prediction.objects.get(request_id=done["request_id"])
    assert row.output == "".join(data["text"] for kind, data in events if kind == "token")
    assert (row.user, row.api_key, row.door) == (owner, None, "playground")


def test_without_javascript_the_page_is_drawn_with_the_answer(deployed_base, inference, post) -> None:
    page = post({"text": "The landlord", "max_tokens": "6"}, accept="text/html")
    assert page.status_code == 200
    assert "The landlord" in page.text
    assert "how often it is right then is not known" in page.text


def test_a_model_server_that_is_away_is_said_in_the_pane(deployed_base, post) -> None:
    sentence = "The model server is starting; try again in a few seconds."
    assert _events(post({"text": "Hello"}).text) == [("error", {"message": sentence})]
    page = post({"text": "Hello"}, accept="text/html")
    assert page.status_code == 503
    assert sentence in page.text


def test_an_answer_brings_its_facts_in_words_and_the_form_to_judge_it(deployed_base, inference, post) -> None:
    done = _events(post({"text": "The landlord", "max_tokens": "6"}).text)[-1][1]
    assert "how often it is right then is not known" in done["facts"][0]
    assert f"{done['completion_tokens']} tokens" in done["facts"]
    assert "From the cache." in _events(post({"text": "The landlord", "max_tokens": "6"}).text)[-1][1]["facts"]
    page = post({"text": "The landlord", "max_tokens": "6"}, accept="text/html").text
    assert page.count("data-feedback-down") == 2, "once under the answer, once in the template for the script"
    assert "What it should have answered" in page


def test_what_the_model_is_told_beforehand_and_the_earlier_turns_reach_it(deployed_base, inference, post) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    turns = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]
    post({"text": "Three", "system": " Be brief. ", "history": json.dumps(turns), "max_tokens": "2"})
    assert prediction_log.flush()
    said = [(turn["role"], turn["content"]) for turn in Prediction.objects.get().input["messages"]]
    assert said == [("system", "Be brief."), ("user", "One"), ("assistant", "Two"), ("user", "Three")]


def test_any_two_models_stand_side_by_side(deployed_base, trained, client_for, owner, project) -> None:
    first, second = trained("First"), trained("Second")
    url = f"/p/{project.slug}/use/playground"
    page = client_for(owner).get(url, {"model": first.api_name, "beside": second.api_name}).content.decode()
    assert page.count("data-playground-pane ") == 2
    assert f'data-model="{first.api_name}"' in page
    assert f'data-model="{second.api_name}"' in page
    alone = client_for(owner).get(url, {"model": first.api_name, "beside": "none"}).content.decode()
    assert alone.count("data-playground-pane ") == 1
    assert client_for(owner).get(url, {"model": "nobody"}).status_code == 404


def test_an_answer_can_be_judged_the_moment_it_is_there(
    deployed_base, inference, post, site, client_for, owner, project
) -> None:
    from serving_app.models import Feedback

    done = _events(post({"text": "The landlord", "max_tokens": "6"}).text)[-1][1]
    url = f"/p/{project.slug}/use/predictions/{done['request_id']}/feedback"
    said = {"verdict": "bad", "reason": "wrong", "correction": "The tenant"}
    told = client_for(owner).post(url, said, headers={"Accept": "application/json"})
    assert told.status_code == 200
    assert Feedback.objects.get().messages[-1]["content"] == "The landlord"


@pytest.mark.parametrize(
    "field", [{"max_tokens": "inf"}, {"max_tokens": "nan"}, {"temperature": "nan"}, {"history": "[" * 100_000}]
)
def test_a_forged_field_is_refused_in_words(deployed_base, actor, field) -> None:
    from finetune_engine.errors import UserError
    from serving_app.playground import playground_question

    with pytest.raises(UserError) as refused:
        playground_question(actor, {"text": "Hello"} | field)
    assert refused.value.field in field
