"""The playground and the page Improve in Chromium."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from django.utils import timezone

from finetune_engine.catalogue.catalogue import load_catalogue
from tests.browser import looks_right_everywhere

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def complained(project, actor, trained):
    """Complaints in several states about a version in use."""
    from serving_app.models import Prediction
    from serving_app.operations import deploy_model, give_feedback
    from serving_app.operations.proposals import keep_as_cases
    from web_kit.ids import new_id

    model = trained("Clause types")
    deployment = deploy_model(actor=actor, trained_model=model, sign_off="Tried by hand; good enough.")
    asked = {
        "Neither party is liable for failure to perform that is caused by war, flood or earthquake.": "Force Majeure",
        "The tenant may end the lease on the last day of each quarter with six weeks of notice.": "Termination",
        "All invoices are due within thirty days of receipt.": "",
    }

    def answered(question: str, answer: str) -> Prediction:
        return Prediction.objects.create(
            request_id=new_id(),
            project=project,
            deployment=deployment,
            door="chat",
            model_name=deployment.model_name,
            input={"messages": [{"role": "user", "content": question}]},
            output=answer,
            latency_seconds=0.1,
            at=timezone.now(),
        )

    given = []
    for number, (question, correction) in enumerate(asked.items()):
        said = {"correction": correction, "comment": "Look at the last half sentence."}
        said |= {"reasons": ["wrong", "incomplete"][: number + 1]}
        made = give_feedback(actor=actor, prediction=answered(question, "Governing Law"), verdict="bad", **said)
        given.append(made)
    give_feedback(actor=actor, prediction=answered("Who pays?", "Payment"), verdict="good")
    keep_as_cases(actor=actor, feedback=given[:1])
    return given


def test_the_page_improve_looks_right(browse, live_server, project, complained) -> None:
    page = browse(1280)
    page.goto(f"{live_server.url}/p/{project.slug}/use/improve")
    assert page.get_by_text("2 corrections are not in the data yet.").is_visible()
    looks_right_everywhere(page, "improve")
    page.goto(f"{live_server.url}/p/{project.slug}/use/predictions/{complained[2].request_id}#feedback")
    page.get_by_label("What it should have answered").fill("Payment Terms")
    looks_right_everywhere(page, "one answer judged")
    page.get_by_role("button", name="It is wrong").click()
    page.wait_for_url("**/use/predictions")
    page.goto(f"{live_server.url}/p/{project.slug}/use/improve")
    assert page.get_by_text("3 corrections are not in the data yet.").is_visible()


def test_nobody_has_complained_yet(browse, live_server, project) -> None:
    page = browse(390)
    page.goto(f"{live_server.url}/p/{project.slug}/use/improve")
    assert page.get_by_text("Nobody has complained yet").is_visible()
    looks_right_everywhere(page, "improve empty")


@pytest.fixture
def at_playground(deployed_base, inference, site, browse, client_for, trainer, project, live_server):
    """A page with the playground, answered by the real model through the real site."""
    page = browse(1280)
    session = client_for(trainer).cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": site}])
    page.goto(f"{site}/p/{project.slug}/use/playground?beside=demo-base")
    return page


def test_an_answer_is_judged_where_it_stands(at_playground) -> None:
    from serving_app.models import Feedback

    page = at_playground
    page.locator("[data-playground-input]").fill("The landlord shall")
    page.keyboard.press("Control+Enter")
    forms = page.locator("form[data-feedback]")
    forms.nth(1).wait_for(timeout=60_000)
    assert page.get_by_text(re.compile("gave its words a probability")).count() == 2
    forms.nth(1).get_by_role("button", name="Good answer").click()
    forms.nth(1).get_by_text("Your verdict is kept").wait_for()
    first = forms.first
    first.get_by_role("button", name="Bad answer").click()
    first.get_by_label("What it should have answered").fill("The tenant shall")
    first.get_by_label("Wrong", exact=True).check()
    first.get_by_role("button", name="Keep the correction").click()
    first.get_by_text("The correction waits on the page Improve").wait_for()
    looks_right_everywhere(page, "playground judged")
    page.set_viewport_size({"width": 1280, "height": 900})
    given = Feedback.objects.get(verdict="bad")
    assert (given.correction, given.reasons) == ("The tenant shall", ["wrong"])
    forms.nth(1).get_by_role("button", name="Take it back").click()
    forms.nth(1).get_by_text("nobody has judged this answer").wait_for()
    assert not Feedback.objects.filter(verdict="good").exists()


def test_the_enter_key_in_a_comment_never_praises_the_answer(at_playground) -> None:
    from serving_app.models import Feedback

    page = at_playground
    page.locator("[data-playground-input]").fill("The landlord shall")
    page.keyboard.press("Control+Enter")
    form = page.locator("form[data-feedback]").first
    form.wait_for(timeout=60_000)
    form.locator("summary").first.click()
    form.get_by_label("Anything else").fill("Clause 4 says otherwise.")
    page.keyboard.press("Enter")
    form.get_by_text("If you know the right answer").wait_for()
    assert [(given.verdict, given.comment) for given in Feedback.objects.all()] == [("bad", "Clause 4 says otherwise.")]


def test_the_earlier_turns_go_along_and_can_be_left_behind(at_playground) -> None:
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    page = at_playground
    for text in ("One", "Two"):
        page.locator("[data-playground-input]").fill(text)
        page.keyboard.press("Control+Enter")
        page.locator("[data-playground-stop]").wait_for(
            state="hidden", timeout=60_000
        )  # shown as soon as the key is heard
    assert prediction_log.flush()
    longest = max(len(row.input["messages"]) for row in Prediction.objects.all())
    assert longest == 3
    page.get_by_role("button", name="Begin anew").click()
    assert page.locator(".bubble").count() == 0


@pytest.fixture
def endless(monkeypatch) -> None:
    """Answers that do not end by themselves: the model may not write its own end."""
    from finetune_engine.serve.openai_format import parse_chat_request

    playground = import_module("serving_app.views.playground")  # the package has a view of the same name
    folder = Path(str(load_catalogue()["demo-base"].path))
    end = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    bias = {str(token): -100 for token in (end if isinstance(end, list) else [end])}
    understood = playground.playground_question

    def question_of(actor, fields):
        question = understood(actor, fields)
        body = question.body | {"logit_bias": bias, "max_tokens": 450, "temperature": 1.0}
        return replace(question, body=body, request=parse_chat_request(body))

    monkeypatch.setattr(playground, "playground_question", question_of)


def test_stop_ends_the_answer_and_frees_its_place(at_playground, endless) -> None:
    from serving_app.gateway.admission import admission
    from serving_app.gateway.database import prediction_log
    from serving_app.models import Prediction

    page = at_playground
    page.locator("[data-playground-input]").fill("Tell me everything about leases")
    page.keyboard.press("Control+Enter")
    page.locator(".bubble-assistant .bubble-text").filter(has_text=re.compile(".{5}")).first.wait_for(timeout=60_000)
    page.keyboard.press("Escape")
    page.locator("[data-playground-stop]").wait_for(state="hidden", timeout=5_000)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not Prediction.objects.filter(status=499).exists():
        prediction_log.flush()
        time.sleep(0.1)
    assert Prediction.objects.filter(status=499).exists(), "the model was told that nobody listens any more"
    while time.monotonic() < deadline and admission._inside:
        time.sleep(0.1)
    assert not admission._inside
