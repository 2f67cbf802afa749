"""The page between upload and import: what the file seems to be, how it is read, and what would become of its rows."""

from __future__ import annotations

import json
import re

import pytest
from django.urls import reverse

from datasets_app import operations
from datasets_app.models import Dataset, RememberedMapping, Upload

TABLE = "title,body,kind,source\n" + "".join(
    f"Clause {i},The party shall do thing {i} within {i + 3} days,{'AB'[i % 2]},deed {i // 5}\n" for i in range(30)
)


@pytest.fixture
def upload(actor, upload_of):
    """``upload("a.csv", bytes_or_rows)``: a stored file."""

    def make(name: str, content) -> Upload:
        content = content.encode() if isinstance(content, str) else content
        return operations.store_upload(actor=actor, file=upload_of(name, content), name=name)

    return make


def page_of(project, stored: Upload) -> str:
    return reverse("datasets:preview", args=[project.slug, stored.pk])


@pytest.fixture
def browser(client_for, trainer):
    return client_for(trainer)


CHOSEN = {
    "name": "Clauses",
    "prompt_template": "{title}: {body}",
    "completion": "kind",
    "task_type": "classification",
    "group": "source",
    "metadata": ["source"],
}


def test_the_page_says_what_it_thinks_and_shows_twenty_rows_as_the_model_will_see_them(browser, project, upload):
    rows = [
        {
            "conversations": [
                {"from": "human", "value": f"Question {i} about rent?"},
                {"from": "gpt", "value": f"Answer {i}, in short."},
            ]
        }
        for i in range(25)
    ]
    page = browser.get(page_of(project, upload("chats.jsonl", rows)))
    text = page.content.decode()
    assert "about 25 rows" in text
    assert len(page.context["look"].rows) == 20
    assert "Question 19 about rent?" in text
    assert "Answer 19, in short." in text


def test_a_template_joins_columns_and_the_preview_shows_the_result(browser, project, upload):
    page = browser.post(page_of(project, upload("table.csv", TABLE)), CHOSEN | {"look": "1"})
    assert page.status_code == 200
    assert "Clause 3: The party shall do thing 3 within 6 days" in page.content.decode()


def test_the_choices_are_those_of_the_import(browser, project, upload, quick_jobs):
    sent = browser.post(page_of(project, upload("table.csv", TABLE)), CHOSEN)
    assert sent.status_code == 302, sent.content
    quick_jobs()
    dataset = Dataset.objects.get()
    assert (dataset.state, dataset.labels) == ("ready", {"A": 15, "B": 15}), dataset.error
    assert dataset.examples.order_by("row").first().prompt_head == "Clause 0: The party shall do thing 0 within 3 days"
    assert dataset.mapping["group"] == "source"


def test_htmx_gets_only_the_part_that_follows_the_choices(browser, project, upload):
    answer = browser.post(
        page_of(project, upload("table.csv", TABLE)), CHOSEN | {"look": "1"}, headers={"HX-Request": "true"}
    )
    text = answer.content.decode()
    assert "<html" not in text
    assert 'id="look"' in text
    assert re.search(r'id="verdict"[^>]*hx-swap-oob', text)


def test_half_a_choice_is_422_with_the_field_that_is_missing(browser, project, upload):
    sent = browser.post(page_of(project, upload("table.csv", TABLE)), {"name": "x", "prompt": ["title"]})
    assert sent.status_code == 422
    assert "completion" in sent.context["form"].errors


@pytest.mark.parametrize("template", ["{nothing}", "no column", "{title", "{title!r}", "{0}", "{title:>20}", "{}"])
def test_a_template_that_makes_no_sense_is_refused_beside_its_field(browser, project, upload, template):
    chosen = CHOSEN | {"prompt_template": template}
    sent = browser.post(page_of(project, upload("table.csv", TABLE)), chosen)
    assert sent.status_code == 422
    assert "prompt_template" in sent.context["form"].errors
    assert not Dataset.objects.exists()


def test_rows_that_would_be_left_out_are_shown_with_the_reason(browser, project, upload):
    rows = [{"text": f"Clause {i} on matter {i * 3}", "label": "" if i == 4 else "AB"[i % 2]} for i in range(15)]
    page = browser.get(page_of(project, upload("rows.jsonl", rows)))
    assert page.context["look"].left_out == 1
    assert "1 of these 15 rows would be left out" in page.content.decode()
    row = page.context["look"].rows[4]
    assert row["status"] == "rejected"
    assert "answer" in " ".join(row["reasons"]).lower()


def test_what_the_project_cleans_is_cleaned_in_the_preview(browser, project, upload, actor):
    from datasets_app.operations.policy import set_cleaning

    rule = {"find": "party", "replace": "tenant", "is_regex": False}
    set_cleaning(actor=actor, steps=None, replacements=[rule], boilerplate=[])
    page = browser.post(page_of(project, upload("table.csv", TABLE)), CHOSEN | {"look": "1"}).content.decode()
    assert "The tenant shall do thing 3" in page


def test_a_choice_is_remembered_for_the_next_file_with_the_same_columns(browser, project, upload):
    browser.post(page_of(project, upload("table.csv", TABLE)), CHOSEN)
    shuffled = "source,kind,body,title\n" + "".join(f"deed,A,Body {i} is long,Title {i}\n" for i in range(12))
    page = browser.get(page_of(project, upload("next.csv", shuffled)))
    text = page.content.decode()
    assert "Read like your last file with the same columns" in text
    assert "Title 3: Body 3 is long" in text
    assert page.context["form"].initial["prompt_template"] == "{title}: {body}"
    assert page.context["form"].initial["completion"] == "kind"


def test_other_columns_and_other_projects_remember_nothing(browser, project, upload, client_for, outsider):
    browser.post(page_of(project, upload("table.csv", TABLE)), CHOSEN)
    other = TABLE.replace("source", "origin", 1)
    assert "Read like your last file" not in browser.get(page_of(project, upload("other.csv", other))).content.decode()
    assert list(RememberedMapping.objects.values_list("project_id", flat=True)) == [project.pk]


def test_choosing_to_find_out_forgets_what_was_remembered(browser, project, upload):
    browser.post(page_of(project, upload("table.csv", TABLE)), CHOSEN)
    browser.post(page_of(project, upload("next.csv", TABLE)), {"name": "Auto", "format": "auto", "task_type": "auto"})
    assert not RememberedMapping.objects.exists()


def test_an_object_of_lists_asks_which_of_them_to_read(browser, project, upload, quick_jobs):
    pairs = {
        name: [[f"Sentence {i} of {name} about cars", f"kind {i % 3}"] for i in range(12)] for name in ("train", "test")
    }
    stored = upload("lists.json", json.dumps(pairs))
    page = browser.get(page_of(project, stored))
    text = page.content.decode()
    assert page.context["look"].lists == ["train", "test"]
    assert "several lists: train, test" in text
    only_lists = browser.post(page_of(project, stored), {"name": "Lists", "lists": ["train"]})
    assert "lists" in only_lists.context["form"].errors
    chosen = {"name": "Lists", "prompt": ["column 1"], "completion": "column 2", "lists": ["train"]}
    assert browser.post(page_of(project, stored), chosen).status_code == 302
    quick_jobs()
    dataset = Dataset.objects.get()
    assert (dataset.state, dataset.total) == ("ready", 12), dataset.error


def test_the_text_of_rows_and_columns_is_never_markup(browser, project, upload):
    table = "<script>a</script>,<b>label</b>\n" + '"<script>alert(1)</script> words",<i>x</i>\n' * 12
    text = browser.get(page_of(project, upload("<img src=x>.csv", table))).content.decode()
    assert "<script>alert" not in text
    assert "<script>a</script>" not in text
    assert "<b>label" not in text
    assert "<img src=x>" not in text


def test_the_look_is_taken_once_and_kept(browser, project, upload, monkeypatch):
    from datasets_app import sniffing

    stored = upload("table.csv", TABLE)
    browser.get(page_of(project, stored))
    monkeypatch.setattr(sniffing, "_ask_child", lambda *args: pytest.fail("it was looked at again"))
    assert browser.get(page_of(project, stored)).status_code == 200


def test_the_page_makes_few_queries(browser, project, upload, django_assert_max_num_queries):
    stored = upload("table.csv", TABLE)
    with django_assert_max_num_queries(12):
        browser.get(page_of(project, stored))


def test_rules_for_cleaning_stand_in_no_list_of_processes(upload, monkeypatch):
    from datasets_app import sniffing

    rule = {"find": "Rosa Weber", "replace": "the tenant", "is_regex": False}
    commands, run = [], sniffing.subprocess.run
    monkeypatch.setattr(
        sniffing.subprocess, "run", lambda command, **more: commands.append(command) or run(command, **more)
    )
    stored = upload("t.csv", "text,label\n" + "".join(f"Rosa Weber pays in week {i},A\n" for i in range(12)))
    look = sniffing.first_look(stored, {"replacements": [rule]})
    assert look.rows[0]["messages"][0]["content"] == "the tenant pays in week 0"
    assert "Rosa Weber" not in " ".join(commands[0])
