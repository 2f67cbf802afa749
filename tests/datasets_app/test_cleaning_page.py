"""Cleaning: the steps with their switches, rules of the house, and a preview on real rows."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts_app.models import AuditEntry
from datasets_app.models import DataPolicy, Dataset
from datasets_app.operations.policy import set_cleaning
from datasets_app.queries.cleaning import cleaning_preview, step_lines, uploaded_texts
from datasets_app.queries.policy import cleaning_plan
from datasets_app.word_diff import clipped, word_diff
from finetune_engine.errors import UserError
from tests.datasets_app.conftest import clause_lines
from work_kit.models import Job

NO_STEPS = {"cleaning": [], "replacements": [], "boilerplate": []}


@pytest.fixture
def untidy(dataset_from):
    """Thirty good rows and three untidy ones: blanks at a line's end, garbled letters, a footer."""
    rows = clause_lines(30)
    rows += [{"text": "The rent is due  \nevery month, says the lease.   ", "label": "Payment"}]
    rows += [{"text": "The cafÃ© may close on Mondays and on holidays.", "label": "Termination"}]
    rows += [{"text": "Notice must be <u>written</u>.\nConfidential - page 12", "label": "Termination"}]
    return dataset_from("untidy.jsonl", rows)


def url(project, dataset):
    return reverse("datasets:cleaning", args=[project.slug, dataset.pk])


def test_the_usual_steps_are_on_until_somebody_decides(untidy, project):
    on = {step.name for step in step_lines(untidy, cleaning_plan(project)) if step.is_on}
    assert {"repair_unicode", "whitespace", "nfc"} <= on
    assert "html_entities" not in on


def test_the_preview_shows_the_uploaded_rows_that_change_and_only_those(untidy):
    shown = cleaning_preview(untidy, NO_STEPS | {"cleaning": ["repair_unicode"]})
    assert (shown.looked_at, shown.changed, shown.next_cursor) == (33, 1, None)
    text = shown.items[0].texts[0]
    assert (shown.items[0].row, text.column) == (32, "text")
    assert "Ã" in "".join(piece.text for piece in text.pieces if piece.kind == "del")
    assert "é" in "".join(piece.text for piece in text.pieces if piece.kind == "ins")


def test_a_step_that_is_off_changes_nothing_though_the_last_check_ran_it(untidy):
    assert cleaning_preview(untidy, NO_STEPS).changed == 0


def test_rules_of_the_house_take_part(untidy):
    options = {
        "cleaning": [],
        "replacements": [{"find": "Notice", "replace": "A notice"}],
        "boilerplate": ["Confidential - page *"],
    }
    shown = cleaning_preview(untidy, options)
    gone = [piece.text for text in shown.items[0].texts for piece in text.pieces if piece.kind == "del"]
    assert shown.items[0].row == 33
    assert "Confidential" in "".join(gone)


def test_a_preview_goes_on_where_it_stopped(untidy, monkeypatch):
    from datasets_app.queries import cleaning

    monkeypatch.setattr(cleaning, "SAMPLE_ROWS", 20)
    monkeypatch.setattr(cleaning, "LONGEST_LOOK", 0)
    first = cleaning_preview(untidy, NO_STEPS | {"cleaning": ["repair_unicode"]})
    assert (first.changed, first.next_cursor) == (0, 20)
    assert cleaning_preview(untidy, NO_STEPS | {"cleaning": ["repair_unicode"]}, 20).changed == 1


def test_a_preview_looks_further_while_nothing_changes(untidy, monkeypatch):
    from datasets_app.queries import cleaning

    monkeypatch.setattr(cleaning, "SAMPLE_ROWS", 10)
    monkeypatch.setattr(cleaning, "LONGEST_LOOK", 60)
    shown = cleaning_preview(untidy, NO_STEPS | {"cleaning": ["repair_unicode"]})
    assert (shown.looked_at, shown.changed) == (33, 1)


def test_a_line_that_could_not_be_read_is_not_cleaned(dataset_from):
    lines = ['{"text": "Who pays?", "label": "a"}'] * 3 + ['{"text": "half a line   , "label": "Pay']
    dataset = dataset_from("half.jsonl", "\n".join(lines).encode())
    assert cleaning_preview(dataset, NO_STEPS | {"cleaning": ["whitespace"]}).changed == 0


def test_the_columns_of_a_table_are_told_apart(dataset_from):
    lines = ["question,remark,answer"] + [f'"Who pays, part {i}?",odd  ,"The tenant  {i}"' for i in range(20)]
    dataset = dataset_from("t.csv", "\n".join(lines).encode(), mapping={"prompt": "question", "completion": "answer"})
    assert list(uploaded_texts(dataset, lines[3])) == [("question", "Who pays, part 2?"), ("answer", "The tenant  2")]


def test_a_decision_is_remembered_signed_and_audited(actor, project):
    rules = [{"find": "Ltd.", "replace": "Limited", "is_regex": False}]
    set_cleaning(actor=actor, steps=["nfc"], replacements=rules, boilerplate=["Page *"])
    assert cleaning_plan(project) == {"cleaning": ["nfc"], "replacements": rules, "boilerplate": ["Page *"]}
    assert AuditEntry.objects.get(act="data_policy.cleaning").data["replacements"] == 1
    assert DataPolicy.objects.get().decided["cleaning"]["user"] == actor.user.pk


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": ["iron_it"]},
        {"steps": [], "replacements": [{"find": "", "replace": "x"}]},
        {"steps": [], "replacements": [{"find": "(", "replace": "", "is_regex": True}]},
        {"steps": [], "replacements": [{"find": "(?=a)b", "replace": "", "is_regex": True}]},
        {"steps": [], "replacements": [{"find": "a\0b", "replace": ""}]},
        {"steps": [], "boilerplate": ["\ud800 page"]},
        {"steps": [], "boilerplate": ["***"]},
        {"steps": [], "boilerplate": ["x" * 501]},
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_stored(actor, wrong):
    with pytest.raises(UserError):
        set_cleaning(actor=actor, **wrong)
    assert not DataPolicy.objects.exists()


def test_saving_by_form_keeps_steps_rules_and_lines(client_for, trainer, project, untidy):
    sent = client_for(trainer).post(
        url(project, untidy),
        {
            "act": "save", "steps": ["nfc", "whitespace"], "find-0": "lease", "replace-0": "contract", "find-1": "",
            "replace-1": "ignored", "find-3": "a+", "regex-3": "on", "boilerplate": ["Page *", " "],
        },
    )  # fmt: skip
    assert sent.status_code == 302
    plan = cleaning_plan(project)
    assert plan["cleaning"] == ["nfc", "whitespace"]
    assert [(rule["find"], rule["is_regex"]) for rule in plan["replacements"]] == [("lease", False), ("a+", True)]
    assert plan["boilerplate"] == ["Page *"]
    page = client_for(trainer).get(url(project, untidy)).content.decode()
    assert 'value="contract"' in page
    assert "by Trainer" in page


def test_a_pattern_that_cannot_be_used_is_explained_beside_what_was_typed(client_for, trainer, project, untidy):
    sent = client_for(trainer).post(url(project, untidy), {"act": "save", "find-0": "(half", "regex-0": "on"})
    page = sent.content.decode()
    assert sent.status_code == 422
    assert "Rule 1 cannot be used" in page
    assert 'value="(half"' in page


def test_the_preview_changes_nothing_and_comes_alone_for_htmx(client_for, trainer, project, untidy):
    client = client_for(trainer, headers={"HX-Request": "true"})
    sent = client.post(url(project, untidy), {"steps": ["repair_unicode"]})
    assert sent.content.decode().strip().startswith('<div id="preview"')
    assert "<ins>" in sent.content.decode()
    assert not DataPolicy.objects.exists()


def test_rows_never_become_markup(client_for, trainer, project, untidy):
    sent = client_for(trainer).post(url(project, untidy), {"steps": [], "find-0": "written", "replace-0": "<script>"})
    page = sent.content.decode()
    assert "<u>" not in page
    assert "&lt;script&gt;" in page


def test_save_and_check_again_starts_a_check_of_all_rows(client_for, trainer, project, untidy):
    sent = client_for(trainer).post(url(project, untidy), {"act": "check", "steps": ["nfc"]})
    assert sent.status_code == 302
    assert sent.url == reverse("datasets:detail", args=[project.slug, untidy.pk])
    job = Job.objects.filter(kind="datasets.import").latest("id")
    assert job.state == "queued"
    assert job.params["options"]["cleaning"] == ["nfc"]


def test_a_check_that_cannot_start_now_leaves_the_decision_saved(client_for, trainer, project, untidy):
    client = client_for(trainer)
    client.post(url(project, untidy), {"act": "check", "steps": ["nfc"]})
    again = client.post(url(project, untidy), {"act": "check", "steps": ["nfc", "whitespace"]})
    assert again.status_code == 302
    page = client.get(again.url).content.decode()
    assert "Saved, but the check did not start" in page
    assert cleaning_plan(project)["cleaning"] == ["nfc", "whitespace"]


def test_after_the_check_the_rows_say_what_each_step_changed(client_for, trainer, project, untidy, quick_jobs):
    client_for(trainer).post(url(project, untidy), {"act": "check", "steps": ["repair_unicode"]})
    quick_jobs()
    untidy.refresh_from_db()
    assert untidy.cleaning.get("repair_unicode") == 1
    assert not untidy.cleaning.get("whitespace")


def test_a_reviewer_looks_but_does_not_change_the_plan(client_for, reviewer, outsider, project, untidy):
    assert "Save and check again" not in client_for(reviewer).get(url(project, untidy)).content.decode()
    assert client_for(reviewer).post(url(project, untidy), {"act": "save"}).status_code == 403
    assert client_for(outsider).get(url(project, untidy)).status_code == 404


def test_the_page_takes_at_most_twelve_queries(client_for, trainer, project, untidy, django_assert_max_num_queries):
    client = client_for(trainer)
    with django_assert_max_num_queries(12):
        client.get(url(project, untidy))


def test_a_difference_is_shown_word_by_word_with_blanks_made_visible():
    pieces = word_diff("the old  lease\u200b", "the new lease", show_blanks=True)
    assert [(piece.kind, piece.text) for piece in pieces] == [
        ("same", "the "),
        ("del", "old␣"),
        ("ins", "new"),
        ("same", " lease"),
        ("del", "[zero width space]"),
    ]
    assert "".join(p.text for p in word_diff("a b c", "a x c") if p.kind != "ins") == "a b c"


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_difference_holds_both_texts_whole(before, after):
    pieces = word_diff(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "ins") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "del") == after


@given(
    st.text(max_size=200)
    | st.recursive(st.text(max_size=5), lambda x: st.dictionaries(st.text(max_size=5), x)).map(json.dumps)
)
def test_any_line_of_a_file_can_be_taken_apart(original):
    dataset = Dataset(mapping=None, columns=["a", "b"])
    assert all(isinstance(text, str) for _column, text in uploaded_texts(dataset, original))


def test_long_texts_are_compared_in_bounded_time_and_shown_clipped():
    before = "word " * 40_000
    after = "word " * 39_999 + "end"
    pieces = clipped(word_diff(before, after))
    assert sum(len(piece.text) for piece in pieces) < 1_000
