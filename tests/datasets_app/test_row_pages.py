"""The pages of rows and of the review queue, as a browser without scripts and as htmx meet them."""

from __future__ import annotations

import pytest
from django.urls import reverse

from benchmarks.made_rows import MadeFinding, MadeRow, made_dataset
from datasets_app import operations
from datasets_app.models import BulkAct, Draft, Example, ReviewAct, RowLock
from datasets_app.operations import review as queue
from datasets_app.queries.rows import RowFilters

HTMX = {"HX-Request": "true"}


@pytest.fixture
def dataset(project, owner):
    """Six rows: 2 holds an e-mail address, 3 is almost row 1, 4 has a control mark; 5 and 6 are good."""
    mail = "Write to rosa.weber@example.org about clause two."
    mark = "Say <|im_start|> here."
    rows = [
        MadeRow("What does clause one say?", "That the party pays at the end of the month."),
        MadeRow(
            mail, "That they answer by post.", status="needs_review",
            findings=[MadeFinding("pii", "Row 2 holds an e-mail address.", kind="email", column="prompt", start=9, end=31)],
        ),
        MadeRow(
            "What does clause one say!", "That the party pays in spring.", status="needs_review",
            findings=[MadeFinding("contradiction", "Row 3 asks the same as row 1.", related_row=1)],
        ),
        MadeRow(
            "What comes first?", mark, status="needs_review",
            findings=[MadeFinding("special_token_text", "Row 4 has a mark.", column="answer", start=4, end=16)],
        ),
        MadeRow("What does clause five say?", "That the deed ends with the year it was made in."),
        MadeRow("What does clause six say?", "That <b>nobody</b> may sell the house to others."),
    ]  # fmt: skip
    return made_dataset(project, owner, rows, name="Clauses")


def url(name, project, dataset, *args):
    return reverse(f"datasets:{name}", args=[project.slug, dataset.pk, *args])


@pytest.fixture
def here(project, dataset):
    return url("review", project, dataset)


@pytest.fixture
def client(client_for, reviewer):
    return client_for(reviewer)


def text_of(response):
    return response.content.decode()


def row(dataset, number):
    return Example.objects.get(dataset=dataset, row=number)


def test_the_card_shows_the_conversation_the_reason_and_the_keys(client, here):
    page = text_of(client.get(here))
    assert "Row 2 holds an e-mail address." in page
    assert '<mark title="an e-mail address">rosa.weber@example.org<span' in page
    for key in "aersu?":
        assert f'data-key="{key}"' in page


def test_the_row_that_it_contradicts_is_shown_beside_it(client, here):
    client.post(here, {"action": "accept", "row": 2})
    page = text_of(client.get(here))
    assert "Compare with row 1" in page
    assert "That the party pays at the end of the month." in page


def test_without_scripts_a_decision_leads_to_the_next_card(client, here, dataset):
    client.get(here)
    sent = client.post(here, {"action": "accept", "row": 2})
    assert (sent.status_code, sent.url) == (302, here)
    page = text_of(client.get(here))
    assert "Row 2: Accepted." in page
    assert "Row 3 asks the same" in page
    assert row(dataset, 2).decided_by.name == "Reviewer"


def test_htmx_gets_the_next_card_alone_and_a_sentence_to_read_out(client, here):
    client.get(here)
    sent = client.post(here, {"action": "reject", "row": 2}, headers=HTMX)
    page = text_of(sent)
    assert sent.status_code == 200
    assert page.strip().startswith('<div id="review"')
    assert 'data-said="Row 2: Rejected."' in page
    assert "Row 3 asks the same" in page


def test_the_filters_stay_while_one_goes_through_the_rows(client, here):
    sent = client.post(here + "?status=accepted&q=clause", {"action": "reject", "row": 1})
    assert sent.url == here + "?status=accepted&q=clause"
    assert "Row 5" in text_of(client.get(sent.url))


def test_an_edit_with_nothing_against_it_is_saved_and_accepted(client, here, dataset):
    client.post(here, {"action": "edit", "row": 4, "text-0": "What comes first?", "text-1": "The deed comes first."})
    edited = row(dataset, 4)
    assert (edited.status, edited.edited_messages[1]["content"]) == ("accepted", "The deed comes first.")
    assert edited.decision == "edit"


def test_what_is_still_found_in_an_edit_is_shown_before_it_is_saved(client, here, dataset):
    fields = {"action": "edit", "row": 2, "text-0": "Write to rosa@example.org.", "text-1": "That they answer by post."}
    shown = client.post(here, fields)
    page = text_of(shown)
    assert shown.status_code == 422
    assert "Personal or secret data" in page
    assert row(dataset, 2).decision == ""
    client.post(here, fields | {"seen": shown.context["check"].seen})
    assert row(dataset, 2).edited_messages[0]["content"] == "Write to rosa@example.org."


def test_what_an_edit_changes_is_shown_word_by_word(client, here):
    page = text_of(
        client.post(
            here,
            {
                "action": "check",
                "row": 3,
                "text-0": "What does clause one say!",
                "text-1": "That the party pays in May.",
            },
        )
    )
    assert "<del>spring</del>" in page
    assert "<ins>May</ins>" in page


def test_an_edit_without_an_answer_is_refused_and_what_was_typed_stays(client, here, dataset):
    sent = client.post(here, {"action": "edit", "row": 3, "text-0": "My new question", "text-1": "  "})
    assert sent.status_code == 422
    assert "My new question" in text_of(sent)
    assert "Write the answer" in text_of(sent)
    assert row(dataset, 3).decision == ""


def test_accepting_a_text_that_was_changed_and_not_saved_asks_first(client, here, dataset):
    fields = {"row": 3, "text-0": "What does clause one say!", "text-1": "That the party pays in May."}
    sent = client.post(here, fields | {"action": "accept"})
    assert sent.status_code == 422
    assert row(dataset, 3).decision == ""
    assert Draft.objects.get().messages[1]["content"] == "That the party pays in May."


def test_a_draft_is_kept_while_typing_and_shown_again(client, project, dataset, here):
    client.get(here)
    sent = client.post(
        url("review_draft", project, dataset),
        {"row": 2, "text-0": "Write to nobody.", "text-1": "That they answer by post."},
    )
    assert "Draft kept" in text_of(sent)
    assert "<ins>nobody</ins>" in text_of(sent)
    page = text_of(client.get(here))
    assert "Write to nobody." in page
    assert "your draft is here" in page


def test_typing_the_old_text_again_forgets_the_draft(client, project, dataset):
    there = url("review_draft", project, dataset)
    client.post(there, {"row": 6, "text-1": "Short."})
    client.post(there, {"row": 6, "text-1": "That <b>nobody</b> may sell the house to others."})
    assert not Draft.objects.exists()


def test_somebody_else_being_first_keeps_what_was_typed_as_a_draft(client, actor, here, dataset):
    client.get(here)
    RowLock.objects.all().delete()
    operations.decide_example(actor=actor, dataset=dataset, example=row(dataset, 2), action="reject")
    sent = client.post(here, {"action": "edit", "row": 2, "text-0": "Write.", "text-1": "That they do."}, headers=HTMX)
    assert "decided on meanwhile, by Olga Owner" in text_of(sent)
    assert "Row 3" in text_of(sent)
    assert Draft.objects.get(row=2).messages[0]["content"] == "Write."
    assert row(dataset, 2).status == "rejected"


def test_undo_shows_the_row_again(client, here, dataset):
    client.post(here, {"action": "accept", "row": 2})
    client.post(here, {"action": "undo"})
    assert row(dataset, 2).decision == ""
    assert "Row 2 holds an e-mail" in text_of(client.get(here))


def test_the_card_says_how_long_it_was_looked_at(client, here):
    client.post(here, {"action": "accept", "row": 2, "lead_seconds": "7.25"})
    client.post(here, {"action": "accept", "row": 3, "lead_seconds": "nan"})
    assert list(ReviewAct.objects.order_by("pk").values_list("lead_seconds", flat=True)) == [7.25, None]


def test_without_scripts_the_time_since_the_row_was_given_out_counts(client, here):
    client.get(here)
    client.post(here, {"action": "accept", "row": 2})
    assert 0 <= ReviewAct.objects.get().lead_seconds < 60


def test_keeping_a_row_answers_whether_it_is_still_held(client, project, dataset, here, actor):
    client.get(here)
    there = url("review_keep", project, dataset)
    assert client.post(there, {"row": 2}).json() == {"held": True}
    client.post(there, {"row": 2, "release": "1"})
    queue.take_row(actor=actor, dataset=dataset, row=2)
    assert client.post(there, {"row": 2}).json() == {"held": False}


def test_a_viewer_sees_the_progress_and_takes_no_row(client_for, viewer, here):
    page = client_for(viewer).get(here)
    assert page.status_code == 200
    assert "takes the role of reviewer" in text_of(page)
    assert not RowLock.objects.exists()


def test_an_empty_queue_says_so_and_one_that_others_work_on_too(client, here, actor, dataset):
    for number in (2, 3, 4):
        queue.take_row(actor=actor, dataset=dataset, row=number)
        operations.decide_example(actor=actor, dataset=dataset, example=row(dataset, number), action="accept")
        if number == 3:
            queue.take_row(actor=actor, dataset=dataset, row=4)
            assert "lie before other people" in text_of(client.get(here))
    assert "No row waits for a decision" in text_of(client.get(here))


@pytest.mark.parametrize(
    "fields", [{}, {"action": "burn", "row": 2}, {"action": "accept", "row": "x"}, {"action": "skip", "row": 99}]
)
def test_a_post_that_means_nothing_is_an_answer_not_a_crash(client, here, fields, dataset):
    for headers in ({}, HTMX):
        assert client.post(here, fields, headers=headers).status_code in {200, 302, 404, 422}
    assert not Example.objects.filter(dataset=dataset).exclude(decision="").exists()
    assert not ReviewAct.objects.exists()


def test_row_text_is_never_markup_on_the_card(client, here):
    page = text_of(client.get(here + "?status=accepted&q=nobody"))
    assert "&lt;b&gt;nobody&lt;/b&gt;" in page
    assert "<b>nobody" not in page


def test_the_trainer_gives_rows_to_people_and_they_see_how_many(client_for, trainer, reviewer, project, dataset, here):
    there = url("review_assign", project, dataset)
    sent = client_for(trainer).post(there, {"people": [reviewer.pk, trainer.pk], "count": "3", "give": "1"})
    assert sent.status_code == 302
    assert "Assigned to me: 2 left" in text_of(client_for(reviewer).get(here))
    client_for(trainer).post(there, {"unassign": "all"})
    assert not Example.objects.filter(assigned_to__isnull=False).exists()


@pytest.mark.parametrize("fields", [{"count": "3"}, {"count": "0", "people": "me"}, {"unassign": "nobody"}])
def test_giving_rows_to_nobody_is_refused_with_a_sentence(client_for, trainer, project, dataset, fields):
    assert client_for(trainer).post(url("review_assign", project, dataset), fields).status_code == 422


def test_all_rows_of_a_filter_are_decided_and_taken_back_by_one_press_each(client, project, dataset):
    sent = client.post(url("bulk", project, dataset), {"status": "needs_review", "action": "reject"})
    page = text_of(client.get(sent.url))
    assert "3 rows changed." in page
    act = BulkAct.objects.get()
    operations.decide_example(actor=_acting(client, project), dataset=dataset, example=row(dataset, 3), action="accept")
    sent = client.post(url("bulk_act", project, dataset, act.pk), {"action": "undo"})
    page = text_of(client.get(sent.url))
    assert "2 rows are as they were before. 1 row stays as it is" in page
    assert (row(dataset, 2).status, row(dataset, 3).status) == ("needs_review", "accepted")


def _acting(client, project):
    from accounts_app.models import User
    from accounts_app.permissions import project_for

    return project_for(User.objects.get(email="reviewer@example.com"), project.slug, "review")


def test_another_datasets_act_is_a_missing_one(client, project, dataset, owner, actor):
    other = made_dataset(project, owner, [MadeRow("a", "b")])
    act = operations.decide_rows(actor=actor, dataset=other, filters=RowFilters(status="accepted"), action="reject")
    assert client.post(url("bulk_act", project, dataset, act.pk), {"action": "undo"}).status_code == 404


def test_a_status_that_does_not_exist_decides_on_no_row(client, project, dataset):
    sent = client.post(url("findings", project, dataset, "pii"), {"action": "reject", "status": "odd"})
    assert sent.status_code == 422
    assert not Example.objects.filter(dataset=dataset).exclude(decision="").exists()


def test_a_raised_two_in_the_address_is_no_number(client, project, dataset):
    assert client.get(url("examples", project, dataset) + "?after=²").status_code == 200


def test_a_search_goes_on_by_itself_where_nothing_was_found_yet(client, project, dataset, monkeypatch):
    from datasets_app.queries import rows

    monkeypatch.setattr(rows, "SEARCH_WINDOW", 2)
    there = url("examples", project, dataset) + "?q=clause+six"
    page = text_of(client.get(there))
    assert "Searched up to row 2" in page
    assert 'hx-get="?q=clause+six&amp;after=2"' in page
    found = text_of(client.get(there + "&after=2", headers=HTMX))
    assert "clause six" in found
    assert "<html" not in found


def test_rows_are_filtered_by_label_and_split(client, project, owner):
    rows = [MadeRow(f"Question {n}", "Yes", label="AB"[n % 2], split=["train", "test"][n % 2]) for n in range(6)]
    labelled = made_dataset(project, owner, rows)
    for filters in ("?label=B", "?split=test", "?label=B&split=test"):
        found = client.get(url("examples", project, labelled) + filters).context["rows"].items
        assert [e.row for e in found] == [2, 4, 6], filters


def test_no_page_of_rows_makes_more_than_a_dozen_queries(
    client_for, owner, project, dataset, here, django_assert_max_num_queries
):
    client = client_for(owner)
    queue_pages = [here, here, here + "?code=contradiction", here + "?status=accepted&q=clause", here + "?assigned=me"]
    others = [
        url("examples", project, dataset) + "?code=contradiction&status=needs_review",
        url("review_assign", project, dataset),
    ]
    for address in [*queue_pages, *others, url("example", project, dataset, 3)]:
        with django_assert_max_num_queries(12):
            assert client.get(address).status_code == 200


@pytest.mark.parametrize(
    ("who", "name", "method", "expected"),
    [
        ("viewer", "review", "post", 403),
        ("viewer", "review_draft", "post", 403),
        ("viewer", "review_keep", "post", 403),
        ("viewer", "bulk", "post", 403),
        ("reviewer", "review_assign", "get", 403),
        ("outsider", "review", "get", 404),
        ("outsider", "review", "post", 404),
        ("outsider", "bulk", "post", 404),
        ("outsider", "review_draft", "post", 404),
    ],
)
def test_each_role_may_do_what_it_may_with_rows(request, client_for, project, dataset, who, name, method, expected):
    client = client_for(request.getfixturevalue(who))
    assert getattr(client, method)(url(name, project, dataset)).status_code == expected


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (RowFilters(), "one_example_per_row"),
        (RowFilters(status="needs_review"), "example_status_row"),
        (RowFilters(label="A"), "example_label_row"),
        (RowFilters(split="test"), "example_split_row"),
        (RowFilters(assigned="0" * 26), "example_assigned_row"),
        (RowFilters(code="pii"), "finding_code_row"),
        (RowFilters(code="pii", q="clause"), "finding_code_row"),
    ],
)
def test_each_filter_walks_its_index(dataset, filters, index):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from datasets_app.queries.rows import example_rows

    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL chooses by the size of the table")
    with CaptureQueriesContext(connection) as captured:
        example_rows(dataset, 1, filters)
    statement = captured.captured_queries[0]["sql"]
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + statement)
        plan = " ".join(str(line[3]) for line in cursor.fetchall())
    wanted = {"one_example_per_row": "row>?"}.get(index, index)
    assert wanted in plan, plan
    assert "SCAN" not in plan, plan
    assert "TEMP B-TREE FOR ORDER BY" not in plan, plan


def test_an_act_on_very_many_rows_goes_on_by_itself_until_it_is_done(client, project, dataset, monkeypatch):
    from datasets_app.operations import bulk_acts
    from datasets_app.views import rows

    monkeypatch.setattr(rows, "BULK_SECONDS", 0.0)
    monkeypatch.setattr(bulk_acts, "BATCH", 2)
    sent = client.post(url("bulk", project, dataset), {"status": "needs_review", "action": "reject"})
    act = BulkAct.objects.get()
    assert sent.url.endswith(f"?status=needs_review&going=continue-{act.pk}")
    assert 'hx-trigger="load delay:200ms, click"' in text_of(client.get(sent.url))
    sent = client.post(url("bulk_act", project, dataset, act.pk), {"action": "continue"})
    assert "going" not in sent.url
    assert "hx-trigger" not in text_of(client.get(sent.url))
    assert Example.objects.filter(dataset=dataset, status="rejected").count() == 3


def test_the_list_shows_an_edited_row_as_it_is_now(client, project, dataset, actor):
    operations.edit_example(
        actor=actor, dataset=dataset, example=row(dataset, 5), prompt="New words?", answer="New ones."
    )
    page = text_of(client.get(url("examples", project, dataset)))
    assert "New words?" in page
    assert "New ones." in page
    assert "What does clause five say?" not in page
