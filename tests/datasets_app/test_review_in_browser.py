"""Two people at the review queue in two real browsers: keys, drafts, locks and taking back; and the page's looks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from benchmarks.made_rows import MadeFinding, MadeRow, made_dataset
from datasets_app.models import Draft, Example, ReviewAct, RowLock
from tests.browser import looks_right

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def dataset(transactional_db, project, owner):
    """Eight rows of which the even ones wait: each is almost row 1, and row 2 holds an e-mail address."""
    rows = []
    for n in range(1, 9):
        prompt = f"What does clause {n} of the deed say about the house?"
        findings = [MadeFinding("duplicate_near", f"Row {n} is almost row 1.", related_row=1)] if n % 2 == 0 else []
        if n == 2:
            prompt = "May one write to rosa.weber@example.org about clause two of the deed?"
            mail = MadeFinding("pii", "Row 2 holds an e-mail address.", kind="email", column="prompt", start=17, end=39)
            findings.append(mail)
        status = "needs_review" if n % 2 == 0 else "accepted"
        rows.append(
            MadeRow(prompt, f"Clause {n} says that the party pays in spring.", status=status, findings=findings)
        )
    return made_dataset(project, owner, rows, name="Clauses of the deed")


@pytest.fixture
def opened(browse, live_server, project, dataset):
    """``opened(user, width)``: a page in a browser of this person's own, on the queue."""

    def make(user, width=1280, **options):
        page = browse(width, user=user, **options)
        page.goto(f"{live_server.url}/p/{project.slug}/data/{dataset.pk}/review")
        return page

    return make


def shows(page, number):
    page.wait_for_selector(f"#review-card:text-is('Row {number}')", timeout=10_000)


def press(page, key):
    page.keyboard.press(key)


def run_out_all_locks():
    RowLock.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def row(dataset, number):
    return Example.objects.get(dataset=dataset, row=number)


def test_two_people_share_the_queue_and_nothing_is_lost_when_one_shuts_the_lid(opened, dataset, reviewer, trainer):
    rita, tom = opened(reviewer), opened(trainer)
    shows(rita, 2)
    shows(tom, 4)
    press(tom, "a")
    shows(tom, 6)
    press(tom, "r")
    shows(tom, 8)
    press(tom, "u")
    shows(tom, 6)
    assert (row(dataset, 4).status, row(dataset, 6).status) == ("accepted", "needs_review")

    press(rita, "e")
    rita.fill("#edit-text-1", "Clause 2 says that nobody may write.")
    rita.wait_for_selector("[data-draft-saved]", timeout=10_000)
    rita.context.close()
    run_out_all_locks()
    press(tom, "a")
    shows(tom, 8)
    press(tom, "a")
    shows(tom, 2)
    assert "nobody may write" not in tom.input_value("#edit-text-1"), "a draft is one's own"
    tom.context.close()
    run_out_all_locks()

    rita = opened(reviewer, 390)
    shows(rita, 2)
    assert rita.input_value("#edit-text-1") == "Clause 2 says that nobody may write."
    rita.focus("#edit-text-1")
    press(rita, "Control+Enter")
    rita.wait_for_selector("text=Save once more")
    press(rita, "Control+Enter")
    rita.wait_for_selector("text=No row waits for a decision")
    assert row(dataset, 2).edited_messages[1]["content"] == "Clause 2 says that nobody may write."
    assert row(dataset, 2).decided_by == reviewer
    assert not Draft.objects.exists()
    assert ReviewAct.objects.filter(undone_at=None).count() == 4
    assert all(0 < act.lead_seconds < 60 for act in ReviewAct.objects.all())
    assert rita.complaints + tom.complaints == []


def test_what_happened_is_said_and_the_focus_goes_to_the_new_card(opened, reviewer):
    page = opened(reviewer)
    shows(page, 2)
    press(page, "r")
    shows(page, 4)
    assert page.inner_text("#review-said") == "Row 2: Rejected. Row 4"
    assert page.evaluate("document.activeElement.id") == "review-card"


def test_keys_that_are_typed_into_a_text_decide_nothing(opened, dataset, reviewer):
    page = opened(reviewer)
    shows(page, 2)
    press(page, "e")
    assert page.evaluate("document.activeElement.id") == "edit-text-1"
    page.keyboard.type("arsu?")
    press(page, "Escape")
    assert page.get_attribute("[data-edit]", "open") is None
    press(page, "?")
    assert page.is_visible("#review-help")
    press(page, "a")
    assert page.is_visible("#review-help")
    press(page, "Escape")
    assert row(dataset, 2).decision == ""
    press(page, "a")
    page.wait_for_selector("text=have not saved it")
    assert row(dataset, 2).decision == ""


def test_without_scripts_the_queue_works_by_buttons(opened, dataset, reviewer):
    page = opened(reviewer, 390, java_script_enabled=False)
    page.click("button:has-text('Reject')")
    page.wait_for_selector("#review-card:text-is('Row 4')")
    assert row(dataset, 2).status == "rejected"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_card_looks_right(opened, reviewer, width, scheme):
    page = opened(reviewer, width, color_scheme=scheme)
    shows(page, 2)
    looks_right(page, f"review-shown-{width}")
    press(page, "e")
    page.fill("#edit-text-1", "Clause 2 says that nobody may write.")
    page.wait_for_selector("[data-draft-saved]")
    looks_right(page, f"review-edited-{width}")


def test_a_search_goes_on_by_itself_until_it_finds_something(opened, reviewer, monkeypatch):
    from datasets_app.queries import rows
    from datasets_app.views import rows as pages

    monkeypatch.setattr(rows, "SEARCH_WINDOW", 2)
    monkeypatch.setattr(pages, "WIDE_WINDOW", 2)
    page = opened(reviewer)
    page.goto(page.url.removesuffix("/review") + "/rows?q=clause+7")
    page.wait_for_selector("td:has-text('What does clause 7')", timeout=10_000)
    page.wait_for_selector("text=The search is at the last row")
    assert page.complaints == []


def test_very_many_rows_are_decided_by_one_press(opened, dataset, reviewer, monkeypatch):
    from datasets_app.operations import bulk_acts
    from datasets_app.views import rows as pages

    monkeypatch.setattr(pages, "BULK_SECONDS", 0.0)
    monkeypatch.setattr(bulk_acts, "BATCH", 1)
    page = opened(reviewer)
    page.goto(page.url.removesuffix("/review") + "/rows?status=needs_review")
    page.click("button:has-text('Reject all')")
    page.wait_for_selector("text=4 rows changed.", timeout=15_000)
    page.click("button:has-text('Undo')")
    page.wait_for_selector("li:has-text('Taken back:')", timeout=15_000)
    assert Example.objects.filter(dataset=dataset, status="needs_review").count() == 4
    assert page.complaints == []
