"""The grid of rejected rows: edited, checked again, accepted or told why not."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from datasets_app import operations
from datasets_app.models import Dataset, Example
from datasets_app.operations.mending import NewText, mend_row, mend_rows
from datasets_app.queries.mending import mend_page
from datasets_app.views.mend import pasted_rows
from finetune_engine.errors import UserError
from tests.datasets_app.conftest import clause_lines


@pytest.fixture
def broken(dataset_from):
    """Thirty good rows; 31 without a label, 32 without an input, 33 no JSON, 34 a repetition of row 5."""
    rows = clause_lines(30)
    lines = [json.dumps(row) for row in rows]
    lines += [json.dumps({"text": "A clause that nobody has labelled yet.", "label": ""})]
    lines += [
        json.dumps({"text": "", "label": "Payment"}),
        '{"text": "<b>half</b> a line, "label": "Pay',
        json.dumps(rows[4]),
    ]
    return dataset_from("broken.jsonl", "\n".join(lines).encode() + b"\n")


def row(dataset, number):
    return Example.objects.get(dataset=dataset, import_attempt=dataset.import_attempt, row=number)


def url(project, dataset):
    return reverse("datasets:mend", args=[project.slug, dataset.pk])


def test_the_grid_holds_what_can_be_mended_and_leaves_repetitions_out(broken):
    page = mend_page(broken)
    assert [one.example.row for one in page.items] == [31, 32, 33]
    assert page.has_passed_over
    assert "no answer" in page.items[0].reasons[0]
    assert (page.items[2].could_be_read, page.items[2].prompt) == (False, "")
    assert "half" in page.items[2].original


def test_a_mended_row_is_accepted_and_keeps_its_original(actor, broken):
    mend_row(actor=actor, dataset=broken, example=row(broken, 31), answer="Payment")
    mended = row(broken, 31)
    assert (mended.status, mended.decision, mended.edited_label) == ("accepted", "edit", "Payment")
    assert Dataset.objects.get(pk=broken.pk).rejected == broken.rejected


def test_a_line_that_was_no_json_can_be_written_anew(actor, broken):
    mend_row(actor=actor, dataset=broken, example=row(broken, 33), prompt="Half a line, made whole.", answer="Payment")
    assert [m["role"] for m in row(broken, 33).edited_messages] == ["user", "assistant"]


@pytest.mark.parametrize(("texts", "part"), [({"answer": "  "}, "answer"), ({"prompt": "", "answer": "x"}, "prompt")])
def test_a_row_that_still_lacks_something_keeps_its_reason_and_is_not_changed(actor, broken, texts, part):
    with pytest.raises(UserError) as refused:
        mend_row(actor=actor, dataset=broken, example=row(broken, 31), **texts)
    assert refused.value.field == part
    assert row(broken, 31).decision == ""


def test_a_better_answer_must_differ_from_the_worse_one(actor, dataset_from):
    pairs = [
        {"prompt": f"Who pays the rent of flat {i}?", "chosen": f"Tenant {i}.", "rejected": "Nobody."}
        for i in range(12)
    ]
    dataset = dataset_from(
        "pairs.jsonl", [*pairs, {"prompt": "Who pays the gas?", "chosen": "", "rejected": "Nobody."}]
    )
    last = row(dataset, 13)
    assert last.status == "rejected"
    with pytest.raises(UserError) as refused:
        mend_row(actor=actor, dataset=dataset, example=last, answer="Nobody.")
    assert refused.value.code == "chosen_equals_rejected"
    mend_row(actor=actor, dataset=dataset, example=last, answer="The tenant.")
    assert row(dataset, 13).status == "accepted"


def test_one_row_that_cannot_be_mended_does_not_stop_the_others(actor, broken):
    texts = [NewText(31, None, "Payment"), NewText(32, "", "Payment"), NewText(99, "a", "b")]
    results = mend_rows(actor=actor, dataset=broken, texts=texts)
    assert [bool(one.error) for one in results] == [False, True, True]
    assert row(broken, 31).status == "accepted"


def test_mended_rows_stay_in_the_grid_as_done(actor, broken):
    mend_row(actor=actor, dataset=broken, example=row(broken, 31), answer="Payment")
    assert [(one.example.row, one.is_done) for one in mend_page(broken).items] == [(31, True), (32, False), (33, False)]


def test_the_grid_goes_on_by_row_and_ends(broken):
    first = mend_page(broken, limit=2)
    assert [one.example.row for one in first.items] == [31, 32]
    second = mend_page(broken, first.next_cursor, limit=2)
    assert [one.example.row for one in second.items] == [33]
    assert second.next_cursor is None


def test_pasted_cells_fill_the_rows_that_wait_or_those_they_name():
    assert pasted_rows("in 1\tout 1\nin 2\tout 2\n", [31, 32, 33]) == [
        NewText(31, "in 1", "out 1"),
        NewText(32, "in 2", "out 2"),
    ]
    assert pasted_rows('33\t"two\nlines"\tout\n', [31]) == [NewText(33, "two\nlines", "out")]


@pytest.mark.parametrize("text", ["", "one column only", "a\tb\nc\td", "a\tb\tc\td"])
def test_a_paste_that_fits_nowhere_is_refused_in_words(text):
    with pytest.raises(UserError):
        pasted_rows(text, [31])


def test_a_row_is_a_form_without_scripts(client_for, reviewer, project, broken):
    client = client_for(reviewer)
    page = client.get(url(project, broken)).content.decode()
    assert "&lt;b&gt;half" in page
    sent = client.post(
        url(project, broken), {"act": "save", "row": 31, "prompt": "A clause about money.", "answer": "Payment"}
    )
    assert (sent.status_code, sent.url) == (302, f"{url(project, broken)}#row-31")
    assert row(broken, 31).edited_messages[0]["content"] == "A clause about money."
    undone = client.post(url(project, broken), {"act": "undo", "row": 31})
    assert undone.status_code == 302
    assert row(broken, 31).status == "rejected"


def test_what_was_typed_is_shown_again_with_the_reason_when_it_is_refused(client_for, reviewer, project, broken):
    sent = client_for(reviewer).post(
        url(project, broken), {"act": "save", "row": 31, "prompt": "Typed with care.", "answer": " "}
    )
    page = sent.content.decode()
    assert sent.status_code == 422
    assert "Typed with care." in page
    assert "Not yet:" in page


def test_htmx_gets_the_row_alone_with_the_number_of_rows_left(client_for, reviewer, project, broken):
    client = client_for(reviewer, headers={"HX-Request": "true"})
    saved = client.post(url(project, broken), {"act": "save", "row": 31, "answer": "Payment"})
    assert saved.content.decode().strip().startswith('<tr id="row-31" class="mend-row mend-done"')
    assert 'id="rows-left" hx-swap-oob="true">3<' in saved.content.decode()
    assert client.post(url(project, broken), {"act": "save", "row": 32, "answer": "x"}).status_code == 422


def test_many_rows_are_pasted_at_once(client_for, reviewer, project, broken):
    client = client_for(reviewer)
    sent = client.post(
        url(project, broken), {"act": "paste", "text": "32\tWho pays the rent?\tPayment\n31\t\tPayment\n"}
    )
    assert sent.status_code == 302
    assert row(broken, 32).status == "accepted"
    page = client.get(sent.url).content.decode()
    assert "1 row was mended and accepted." in page
    assert "1 still needs something" in page
    assert client.post(url(project, broken), {"act": "paste", "text": "nonsense"}).status_code == 422


def test_a_very_long_text_is_not_put_into_a_cell_and_stays_as_it_is(client_for, reviewer, project, dataset_from):
    long = "considerations " * 900
    dataset = dataset_from("long.jsonl", [*clause_lines(20), {"text": long, "label": ""}])
    client = client_for(reviewer)
    page = client.get(url(project, dataset)).content.decode()
    assert "Too long for this table" in page
    assert len(page) < 60_000
    client.post(url(project, dataset), {"act": "save", "row": 21, "answer": "Payment"})
    assert row(dataset, 21).edited_messages[0]["content"].startswith("considerations considerations")


def test_who_may_mend(client_for, viewer, reviewer, outsider, project, broken):
    body = {"act": "save", "row": 31, "answer": "Payment"}
    assert client_for(viewer).post(url(project, broken), body).status_code == 403
    assert client_for(outsider).post(url(project, broken), body).status_code == 404
    assert "<textarea" not in client_for(viewer).get(url(project, broken)).content.decode()
    assert client_for(reviewer).post(url(project, broken), body | {"row": 4711}).status_code == 404


def test_the_page_takes_at_most_twelve_queries(client_for, reviewer, project, broken, django_assert_max_num_queries):
    client = client_for(reviewer)
    with django_assert_max_num_queries(12):
        client.get(url(project, broken))


def test_a_row_that_somebody_left_out_on_purpose_is_no_mistake(actor, broken):
    operations.decide_example(actor=actor, dataset=broken, example=row(broken, 1), action="reject")
    operations.decide_example(actor=actor, dataset=broken, example=row(broken, 31), action="reject")
    assert [one.example.row for one in mend_page(broken).items] == [32, 33]


def test_a_dataset_with_nothing_to_mend_says_so(client_for, reviewer, project, dataset_from):
    dataset = dataset_from("good.jsonl", clause_lines(30))
    assert "Nothing to mend" in client_for(reviewer).get(url(project, dataset)).content.decode()
