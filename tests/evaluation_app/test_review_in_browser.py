"""Three people judge the same answers in three browsers, blind; a split is decided; a correction goes into the data."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from datasets_app.models import Dataset, Example, Finding, Snapshot
from evaluation_app.models import Review, ReviewLock, Vote
from evaluation_app.operations.review_links import invite_reviewer
from tests.browser import chromium, looks_right
from tests.evaluation_app.made_review import give_answers, opened

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OTHER_CASE = "old => !document.querySelector('.bubble-user')?.innerText.includes(old)"
BETTER = "Payment is due on the first day of spring, whatever the weather."


@pytest.fixture
def judged(done, tmp_path):
    return give_answers(done, tmp_path)


@pytest.fixture
def dataset(actor, judged, run_jobs):
    """The real dataset that the evaluation's snapshot was frozen from: twenty conversations, checked by the engine."""
    from datasets_app import operations

    lines = [
        {"messages": [{"role": "user", "content": f"When must clause {i} of the lease be paid by the tenant, please?"},
                      {"role": "assistant", "content": f"Clause {i} says that the tenant pays in the month number {i}."}]}
        for i in range(1, 21)
    ]  # fmt: skip
    file = SimpleUploadedFile("talks.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
    upload = operations.store_upload(actor=actor, file=file, name="talks.jsonl")
    made = operations.create_dataset(actor=actor, upload=upload, name="Talks about leases")
    run_jobs()
    Snapshot.objects.filter(pk=judged.snapshot_id).update(dataset=made)
    return Dataset.objects.get(pk=made.pk)


@pytest.fixture
def browser(monkeypatch):
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with chromium() as make:
        yield make


@pytest.fixture
def visit(browser, live_server, client_for, project):
    """``visit(user, "/results/...", width)``: a page in a browser of this person's own; ``user`` None: nobody's."""

    def go(user, path, width=1280, **options):
        cookies = ()
        if user is not None:
            session = client_for(user).cookies["sessionid"].value
            cookies = ({"name": "sessionid", "value": session, "url": live_server.url},)
        page = browser(width, cookies, **options)
        page.goto(f"{live_server.url}{path if path.startswith('/review') else f'/p/{project.slug}{path}'}")
        return page

    return go


def shows(page, number):
    page.wait_for_selector(f"#vote-card:text-is('Case {number}')", timeout=10_000)


def tuned_side(page) -> int:
    """1 or 2: where the trained model's answer stands (known by its words, which only the test knows)."""
    return 1 if "Payment under" in page.inner_text(".vote-answer >> nth=0") else 2


def clause(page) -> str:
    return page.inner_text(".bubble-user").split("clause ")[1].split(" ")[0]


@pytest.mark.slow
def test_three_raters_in_three_browsers(visit, actor, judged, dataset, reviewer, trainer, owner, run_jobs):
    review = opened(
        actor, judged, size=3, raters_per_item=3, name="Which answer is better", instructions="Mind the dates."
    )
    _link, token = invite_reviewer(actor=actor, review=review, name="Greta Guest")
    queue = f"/results/reviews/{review.pk}/queue"
    rita, tom = visit(reviewer, queue), visit(trainer, queue)
    greta = visit(None, f"/review/{token}/", 390, color_scheme="dark", has_touch=True)
    orders = []
    for page in (rita, tom, greta):
        shows(page, 1)
        looks_right(page, f"judge-{'guest-390-dark' if page is greta else 'member-1280-light'}")
    split = clause(rita)

    orders.append([])  # Rita: by mouse; prefers the trained model, but not on the case that will be split
    for number in range(1, 4):
        shows(rita, number)
        orders[-1].append((clause(rita), tuned_side(rita)))
        side = tuned_side(rita) if clause(rita) != split else 3 - tuned_side(rita)
        rita.click(f"button:has-text('Answer {side} is better')")
    orders.append([])  # Tom: by keys alone; he corrects one answer, takes a vote back, and skips
    for number in range(1, 4):
        shows(tom, number)
        orders[-1].append((clause(tom), tuned_side(tom)))
        if number == 1:
            tom.keyboard.press("c")
            tom.keyboard.type(BETTER)
            tom.wait_for_selector("[data-draft-said]:visible", timeout=10_000)
            tom.keyboard.press("Escape")
            corrected = clause(tom)
        if number == 2:
            tom.keyboard.press("u")
            shows(tom, 1)
            assert tom.input_value("#vote-correction") == BETTER
            tom.keyboard.press(str(tuned_side(tom)))
            shows(tom, 2)
            tom.keyboard.press("s")
            tom.wait_for_function(OTHER_CASE, arg=f"clause {orders[-1][-1][0]} ")
            orders[-1][-1] = (clause(tom), tuned_side(tom))
        tom.keyboard.press("ArrowLeft" if tuned_side(tom) == 1 else "2")
    orders.append([])  # Greta: on a phone, from outside
    for number in range(1, 4):
        shows(greta, number)
        orders[-1].append((clause(greta), tuned_side(greta)))
        choice = f"Answer {tuned_side(greta)} is better" if clause(greta) != split else "Equally good"
        greta.tap(f"button:has-text('{choice}')")
    for page in (rita, tom, greta):
        page.wait_for_selector("text=You have judged everything there is for you", timeout=10_000)
    assert Vote.objects.count() == 9
    assert not ReviewLock.objects.exists()
    assert len({tuple(one for one, _ in order) for order in orders}) > 1, "each has an order of their own"
    assert all(1 <= sum(side == 1 for _, side in order) <= 2 for order in orders), "three cases: one or two on the left"
    assert not greta.context.cookies()

    olga = visit(owner, f"/results/reviews/{review.pk}")
    assert "demo-base" not in olga.content()
    looks_right(olga, "review-open-1280-light")
    olga.click("text=Say the last word, blind")
    assert clause(olga) == split
    looks_right(olga, "review-decide-1280-light")
    olga.fill("#note", "It names the clause.")
    olga.click(f"button:has-text('Answer {tuned_side(olga)} is better')")
    olga.wait_for_selector("text=Nothing waits for a last word")
    olga.click("text=Back to the review")
    olga.click("summary:has-text('Close and show the results')")
    olga.click("button:has-text('Close and show the results')")
    olga.wait_for_selector("text=The names of the models are open now")
    results = Review.objects.get(pk=review.pk).results
    assert results["pairs"]["items"]["wins"] == 3
    numbers = [item.number for item in review.items.all() if f"clause {split} " in str(item.messages)]
    assert results["pairs"]["adjudicated"] == numbers
    assert results["agreement"]["percent"]["value"] == pytest.approx((3 + 3 + 0) / 9)
    assert results["agreement"]["alpha"]["value"] is not None
    assert "It names the clause." in olga.content()
    looks_right(olga, "review-closed-1280-light")
    olga.set_viewport_size({"width": 390, "height": 900})
    olga.emulate_media(color_scheme="dark", reduced_motion="reduce")
    olga.wait_for_timeout(150)  # colours glide from one scheme to the other
    looks_right(olga, "review-closed-390-dark")

    olga.click("button:has-text('Send 1 correction to the data')")
    olga.wait_for_selector("text=on its way to the review queue of the data")
    run_jobs()
    dataset.refresh_from_db()
    row = Example.objects.get(dataset=dataset, import_attempt=dataset.import_attempt, row=21)
    told = Finding.objects.get(dataset=dataset, import_attempt=dataset.import_attempt, row=21, code="proposed").message
    assert row.status == "needs_review"
    assert told.startswith(
        f"Trainer wrote this answer in the review “{review.name}” (evaluation {judged.pk} of Clauses, row "
    )
    assert row.prompt_head == f"When is clause {corrected} due?"
    olga.reload()
    olga.click("text=To the review queue of the data")
    olga.wait_for_selector("#review-card:text-is('Row 21')")
    assert BETTER in olga.inner_text("[aria-label='As the model sees it']")
    assert "Trainer wrote this answer" in olga.inner_text("aside")
    looks_right(olga, "review-card-of-a-correction")
    assert rita.complaints + tom.complaints + greta.complaints == []


def test_marks_are_given_by_keys(visit, actor, judged, reviewer):
    review = opened(actor, judged, kind="rubric", size=2)
    page = visit(reviewer, f"/results/reviews/{review.pk}/queue")
    shows(page, 1)
    for key in "543":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    shows(page, 2)
    assert Vote.objects.get().marks == {"correct": 5, "complete": 4, "usable": 3}
    page.keyboard.press("Enter")
    page.keyboard.press("s")
    page.keyboard.press("?")
    assert page.is_visible("#vote-help")
    looks_right(page, "marks-1280-light")


def test_on_a_phone_marks_stand_below_one_another(visit, actor, judged, reviewer):
    review = opened(actor, judged, kind="rubric", size=2)
    page = visit(reviewer, f"/results/reviews/{review.pk}/queue", 360, color_scheme="dark")
    shows(page, 1)
    looks_right(page, "marks-360-dark")


def test_without_scripts_it_works_by_buttons(visit, actor, judged):
    review = opened(actor, judged, kind="correction", size=2)
    _link, token = invite_reviewer(actor=actor, review=review, name="Greta")
    page = visit(None, f"/review/{token}/", 390, java_script_enabled=False)
    page.fill("#vote-correction", BETTER)
    page.click("button:has-text('Save the answer')")
    page.wait_for_selector("#vote-card:text-is('Case 2')")
    assert Vote.objects.get().correction == BETTER
    page.click("button:has-text('Undo')")
    page.wait_for_selector("#vote-card:text-is('Case 1')")
    assert page.input_value("#vote-correction") == BETTER


def test_keys_that_are_typed_into_a_text_decide_nothing(visit, actor, judged, reviewer):
    review = opened(actor, judged, size=2)
    page = visit(reviewer, f"/results/reviews/{review.pk}/queue")
    shows(page, 1)
    page.keyboard.press("c")
    page.keyboard.type("1234su")
    assert page.input_value("#vote-correction") == "1234su"
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    shows(page, 2)
    assert (Vote.objects.get().choice, Vote.objects.get().correction) == ("tie", "1234su")


def test_the_form_that_starts_a_review_looks_right(visit, judged, trainer):
    for width, scheme in ((1280, "light"), (390, "dark")):
        page = visit(trainer, f"/results/{judged.pk}/review", width, color_scheme=scheme)
        looks_right(page, f"review-new-{width}-{scheme}")
