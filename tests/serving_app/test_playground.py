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
    from serving_app.database import prediction_log
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
    assert "Confidence" in page.text


def test_a_model_server_that_is_away_is_said_in_the_pane(deployed_base, post) -> None:
    sentence = "The model server is starting; try again in a few seconds."
    assert _events(post({"text": "Hello"}).text) == [("error", {"message": sentence})]
    page = post({"text": "Hello"}, accept="text/html")
    assert page.status_code == 503
    assert sentence in page.text
