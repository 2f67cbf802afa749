"""The data pages, as people of each role meet them."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from datasets_app.models import Dataset, Upload


def url(name, project, *args):
    return reverse(f"datasets:{name}", args=[project.slug, *args])


def test_an_empty_project_offers_the_upload_and_the_sample(client_for, project, trainer):
    page = client_for(trainer).get(url("list", project)).content.decode()
    assert "No data yet" in page
    assert "Contract clauses" in page


def test_a_viewer_of_an_empty_project_is_not_offered_what_they_may_not_do(client_for, project, viewer):
    page = client_for(viewer).get(url("list", project)).content.decode()
    assert "No data yet" in page
    assert url("upload", project) not in page


def test_from_the_file_to_the_data_page_by_browser(client_for, project, trainer, upload_of, run_jobs):
    client = client_for(trainer)
    rows = [{"text": f"Clause {i} on matter {i * 3} of the deed", "label": "AB"[i % 2]} for i in range(40)]
    sent = client.post(url("upload", project), {"file": upload_of("my clauses.jsonl", rows)})
    assert sent.status_code == 302
    looked = client.get(sent.url)
    page = looked.content.decode()
    assert "about 40 rows" in page
    assert "Clause 7 on matter 21" in page
    form = looked.context["form"]
    chosen = {"name": "My clauses", "format": "auto", "task_type": "auto", "prompt": form.initial["prompt"]}
    chosen |= {"completion": form.initial["completion"], "idempotency_key": form.initial["idempotency_key"]}
    begun = client.post(sent.url, chosen)
    assert begun.status_code == 302
    assert client.post(sent.url, chosen).url == begun.url, "a double click makes one dataset"
    assert "data-live-job" in client.get(begun.url).content.decode()
    run_jobs()
    page = client.get(begun.url).content.decode()
    assert "40 of 40 rows can be trained on" in page
    assert Dataset.objects.get().mapping is not None


def test_an_upload_script_gets_json_and_a_plain_form_gets_a_page(client_for, project, trainer):
    client = client_for(trainer)
    sent = client.post(
        url("upload", project),
        {"file": SimpleUploadedFile("a.csv", b"text,label\na,b\n")},
        headers={"Accept": "text/html, application/json"},
    )
    assert sent.status_code == 201
    assert sent.json()["url"] == url("preview", project, Upload.objects.get().pk)
    empty = client.post(url("upload", project), {"file": SimpleUploadedFile("empty.csv", b"")})
    assert empty.status_code == 422
    assert "This file is empty" in empty.content.decode()
    nothing = client.post(url("upload", project), {})
    assert nothing.status_code == 422


def test_a_file_above_the_limit_is_413_with_a_sentence(client_for, project, trainer, settings):
    settings.MAX_UPLOAD_BYTES = 1000
    sent = client_for(trainer).post(url("upload", project), {"file": SimpleUploadedFile("big.csv", b"x" * 2000)})
    assert sent.status_code == 413
    assert "larger than 1000 bytes" in sent.content.decode()
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("columns.csv", b"colour,size\nred,1\nblue,2\n", "colour"),
        ("header.csv", b"text,label\n", None),
        ("binary.jsonl", bytes(range(256)) * 20, None),
        ("deep.json", b"[" * 100_000, None),
        ("gz.csv.gz", b"\x1f\x8b\x08\x00broken", None),
        ("../../etc/passwd", b"text,label\na,b\n", None),
    ],
)
def test_the_preview_of_a_bad_file_is_a_page_with_a_sentence(client_for, project, trainer, name, content, words):
    client = client_for(trainer)
    sent = client.post(url("upload", project), {"file": SimpleUploadedFile(name, content)})
    page = client.get(sent.url)
    assert page.status_code == 200
    assert "Traceback" not in page.content.decode()
    if words:
        assert words in page.content.decode()


def test_columns_with_other_names_are_chosen_from_lists(client_for, project, trainer, quick_jobs):
    client = client_for(trainer)
    lines = "".join(f"The {i}th sentence of the speech,kind {i % 2},{i}\n" for i in range(30))
    file = SimpleUploadedFile("odd.csv", f"Äußerung,Sorte,Nummer\n{lines}".encode())
    preview = client.post(url("upload", project), {"file": file}).url
    chosen = {"name": "Odd", "prompt": ["Äußerung"], "completion": "Sorte", "task_type": "classification"}
    looked = client.post(preview, chosen | {"look": "1"})
    assert looked.status_code == 200
    assert "kind 1" in looked.content.decode()
    half = client.post(preview, {"name": "Odd", "prompt": ["Äußerung"]})
    assert half.status_code == 422
    page = client.post(preview, chosen)
    quick_jobs()
    dataset = Dataset.objects.get()
    assert dataset.state == "ready", dataset.error
    assert dataset.labels == {"kind 0": 15, "kind 1": 15}
    assert client.get(page.url).status_code == 200


def test_a_failed_import_shows_what_was_found_and_the_way_out(client_for, project, trainer, dataset_from):
    dataset = dataset_from("columns.csv", b"colour,size\nred,1\nblue,2\n")
    page = client_for(trainer).get(url("detail", project, dataset.pk)).content.decode()
    assert "This file could not be used" in page
    assert "colour, size" in page
    assert "Change how it is read" in page


def test_findings_link_to_their_rows_and_a_row_shows_everything(client_for, project, reviewer, clauses):
    client = client_for(reviewer)
    page = client.get(url("detail", project, clauses.pk)).content.decode()
    assert "?code=duplicate_exact" in page
    listed = client.get(url("examples", project, clauses.pk) + "?code=duplicate_exact")
    assert [e.row for e in listed.context["rows"].items] == [61]
    row = client.get(url("example", project, clauses.pk, 61)).content.decode()
    assert "Clause 4: the party" in row
    assert url("example", project, clauses.pk, 5) in row, "the row it repeats is linked"


def test_a_reviewer_decides_and_goes_on_to_the_next_row_of_the_filter(client_for, project, reviewer, clauses):
    client = client_for(reviewer)
    here = url("example", project, clauses.pk, 3) + "?status=accepted"
    sent = client.post(here, {"action": "reject"})
    assert sent.url == url("example", project, clauses.pk, 4) + "?status=accepted"
    edited = client.post(
        url("example", project, clauses.pk, 62), {"action": "edit", "prompt": "A clause", "answer": "Payment"}
    )
    assert edited.status_code == 302
    page = client.get(url("example", project, clauses.pk, 62)).content.decode()
    assert "edited by a person" in page
    assert "nobody has labelled yet" in page, "the original is kept"


def test_an_edit_without_an_answer_is_refused_and_keeps_what_was_typed(client_for, project, reviewer, clauses):
    sent = client_for(reviewer).post(
        url("example", project, clauses.pk, 3), {"action": "edit", "prompt": "My new words", "answer": "  "}
    )
    assert sent.status_code == 422
    assert "My new words" in sent.content.decode()
    clauses.refresh_from_db()
    assert clauses.rejected == 2


def test_row_text_is_never_markup(client_for, project, viewer, dataset_from):
    rows = [{"text": f"<script>alert({i})</script> the clause of the deed", "label": "<b>x</b>"} for i in range(20)]
    dataset = dataset_from("evil<img>.jsonl", rows, name="<i>evil</i>")
    client = client_for(viewer)
    for address in (
        url("list", project),
        url("detail", project, dataset.pk),
        url("examples", project, dataset.pk) + "?q=<script>",
        url("example", project, dataset.pk, 1),
    ):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page
        assert "<b>x</b>" not in page
        assert "<i>evil" not in page


def test_a_dataset_is_deleted_by_typing_its_name_and_then_is_gone(client_for, project, owner, clauses):
    client = client_for(owner)
    client.post(url("delete", project, clauses.pk), {"confirm_name": "something else"})
    assert client.get(url("detail", project, clauses.pk)).status_code == 200
    client.post(url("delete", project, clauses.pk), {"confirm_name": clauses.name})
    assert client.get(url("detail", project, clauses.pk)).status_code == 404
    assert clauses.name not in client.get(url("list", project)).context["cards"]


@pytest.mark.parametrize(
    ("who", "name", "method", "expected"),
    [
        ("viewer", "upload", "get", 403),
        ("reviewer", "upload", "post", 403),
        ("viewer", "detail", "get", 200),
        ("viewer", "example", "post", 403),
        ("viewer", "findings", "post", 403),
        ("reviewer", "freeze", "post", 403),
        ("trainer", "delete", "post", 403),
        ("outsider", "detail", "get", 404),
        ("outsider", "examples", "get", 404),
        ("outsider", "example", "get", 404),
        ("outsider", "rejected", "get", 404),
        ("outsider", "delete", "post", 404),
    ],
)
def test_each_role_may_do_what_it_may(request, client_for, project, bare_dataset, who, name, method, expected):
    key = bare_dataset.pk
    args = {"upload": [], "example": [key, 1], "findings": [key, "pii"]}.get(name, [key])
    client = client_for(request.getfixturevalue(who))
    assert getattr(client, method)(url(name, project, *args)).status_code == expected


def test_another_projects_dataset_is_a_missing_one_even_to_its_members(client_for, outsider, bare_dataset):
    from accounts_app.models import Project

    theirs = Project.objects.exclude(pk=bare_dataset.project_id).get()
    client = client_for(outsider)
    for name in ("detail", "examples", "rejected", "events"):
        assert client.get(url(name, theirs, bare_dataset.pk)).status_code == 404
    assert client.get(url("preview", theirs, bare_dataset.upload_id)).status_code == 404


def test_no_page_makes_more_than_a_dozen_queries(
    client_for, project, owner, clauses, freeze, django_assert_max_num_queries
):
    freeze(clauses)
    client = client_for(owner)
    for address in (
        url("list", project),
        url("detail", project, clauses.pk),
        url("examples", project, clauses.pk) + "?code=duplicate_exact&status=rejected",
        url("example", project, clauses.pk, 61) + "?status=rejected",
    ):
        with django_assert_max_num_queries(12):
            assert client.get(address).status_code == 200


# --- the data page --------------------------------------------------------------------------------------------


def test_the_sentence_counts_every_status_and_says_why_rows_are_rejected(client_for, project, viewer, clauses):
    page = client_for(viewer).get(url("detail", project, clauses.pk)).content.decode()
    assert "60 of 62 rows can be trained on" in page
    assert "2 are rejected, most often because of “" in page


def test_the_next_act_is_to_decide_then_to_freeze_then_to_train(client_for, project, owner, clauses, freeze):
    client, here = client_for(owner), url("detail", project, clauses.pk)
    assert client.get(here).context["next_act"].url == url("freeze", project, clauses.pk)
    Dataset.objects.filter(pk=clauses.pk).update(needs_review=3)
    assert "3 rows" in client.get(here).context["next_act"].words
    Dataset.objects.filter(pk=clauses.pk).update(needs_review=0)
    snapshot = freeze(clauses)
    assert client.get(here).context["next_act"].url.endswith(f"?snapshot={snapshot.pk}")


def test_a_viewer_is_offered_no_act(client_for, project, viewer, clauses):
    response = client_for(viewer).get(url("detail", project, clauses.pk))
    assert response.context["next_act"] is None
    assert url("freeze", project, clauses.pk) not in response.content.decode()


def test_while_rows_are_checked_again_the_old_numbers_stay_beside_a_bar(client_for, project, trainer, actor, clauses):
    from datasets_app.operations.rechecks import recheck_dataset

    recheck_dataset(actor=actor, dataset=clauses)
    page = client_for(trainer).get(url("detail", project, clauses.pk)).content.decode()
    assert "data-live-job" in page
    assert "60 of 62 rows can be trained on" in page
    assert "this page shows the last result" in page


def test_the_files_of_a_dataset_are_listed_with_their_rows(client_for, project, viewer, clauses):
    page = client_for(viewer).get(url("detail", project, clauses.pk)).content.decode()
    assert "clauses.jsonl" in page
    assert "62 rows" in page


def test_every_tab_leads_to_a_page(client_for, project, owner, clauses):
    import re

    client = client_for(owner)
    page = client.get(url("detail", project, clauses.pk)).content.decode()
    strip = page[page.index('<ul class="tabs">') : page.index("</ul></nav>")]
    links = re.findall(r'href="([^"]+)"', strip)
    assert len(links) >= 7
    for link in links:
        assert client.get(link).status_code == 200, link
