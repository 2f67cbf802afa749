"""Personal data: found in context, decided per kind, remembered for the project."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts_app.models import AuditEntry
from datasets_app.models import DataPolicy, Dataset
from datasets_app.operations.policy import set_pii_decisions
from datasets_app.queries.personal import personal_example, personal_examples
from datasets_app.queries.policy import kind_decisions, pii_policy
from datasets_app.queries.rows import full_rows, visible
from finetune_engine.errors import UserError

MAIL = "anna.berg@example.org"
CARD = "4111 1111 1111 1111"


@pytest.fixture
def letters(dataset_from):
    rows = [
        {"text": f"Please look at clause {i} of the lease and say what it is about.", "label": "ab"[i % 2]}
        for i in range(20)
    ]
    rows += [{"text": f"Write to {MAIL} about <b>clause</b> {n}, and again to {MAIL}.", "label": "a"} for n in range(8)]
    rows += [{"text": f"The card {CARD} was charged twice for the same order.", "label": "b"}]
    dataset = dataset_from("letters.jsonl", rows)
    if not dataset.pii:
        Dataset.objects.filter(pk=dataset.pk).update(pii={"email": 8, "card": 1})
        dataset.refresh_from_db()
    return dataset


def url(project, dataset):
    return reverse("datasets:personal", args=[project.slug, dataset.pk])


def test_every_kind_is_masked_until_somebody_decides(actor, project):
    assert set(pii_policy(project).values()) == {"mask"}
    set_pii_decisions(actor=actor, decisions={"email": "keep"})
    assert pii_policy(project)["email"] == "keep"
    assert pii_policy(project)["card"] == "mask"


def test_a_decision_says_who_and_when_and_is_audited_without_any_value(actor, project, owner):
    set_pii_decisions(actor=actor, decisions={"card": "reject"})
    card = next(one for one in kind_decisions(project) if one.kind == "card")
    assert (card.action, card.decided.by) == ("reject", "Olga Owner")
    assert card.decided.at is not None
    entry = AuditEntry.objects.filter(act="data_policy.pii").get()
    assert (entry.subject, entry.data["from"], entry.data["to"]) == ("personal data card", "mask", "reject")


@pytest.mark.parametrize(("kind", "action"), [("shoe_size", "mask"), ("email", "burn"), ("email", "")])
def test_an_unknown_kind_or_action_is_refused_and_nothing_is_stored(actor, kind, action):
    with pytest.raises(UserError):
        set_pii_decisions(actor=actor, decisions={"card": "keep", kind: action})
    assert not DataPolicy.objects.exists()


def test_spans_are_shown_in_context_beside_what_the_model_will_see(letters, project):
    page = personal_examples(letters, "email", pii_policy(project))
    part = page.items[0].parts[0]
    assert [piece.text for piece in part.before if piece.is_marked] == [MAIL, MAIL]
    assert [piece.text for piece in part.after if piece.is_marked] == ["[EMAIL_1]", "[EMAIL_1]"]
    assert MAIL not in "".join(piece.text for piece in part.after)


def test_examples_come_in_pages_by_row(letters, project):
    first = personal_examples(letters, "email", pii_policy(project))
    second = personal_examples(letters, "email", pii_policy(project), after=first.next_cursor)
    rows = [item.example.row for item in [*first.items, *second.items]]
    assert rows == list(range(21, 29))
    assert second.next_cursor is None


def test_a_row_whose_edit_took_the_value_out_shows_nothing_of_it(letters, project, actor):
    from datasets_app import operations

    example = visible(letters).get(row=21)
    operations.edit_example(actor=actor, dataset=letters, example=example, prompt="Write to the tenant about it.")
    assert personal_example(full_rows(letters, [example])[0], "email", pii_policy(project)).parts == []


def test_what_a_tool_is_called_with_is_shown_and_masked_too(dataset_from, project):
    call = {"id": "c1", "type": "function", "function": {"name": "write", "arguments": f'{{"to": "{MAIL}"}}'}}
    turns = [
        {"role": "user", "content": "Tell Anna that the lease ends."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    dataset = dataset_from("tools.jsonl", [{"messages": turns}])
    part = personal_example(full_rows(dataset, list(visible(dataset)))[0], "email", pii_policy(project)).parts[0]
    assert (part.role, part.before[0].text, part.after[0].text) == ("tool", MAIL, "[EMAIL_1]")


def test_a_row_left_out_for_another_kind_is_not_shown_as_masked(letters, project, actor, client_for, trainer):
    from datasets_app import operations

    both = f"Send the bill for card {CARD} to {MAIL} at once, please."
    operations.edit_example(actor=actor, dataset=letters, example=visible(letters).get(row=21), prompt=both)
    set_pii_decisions(actor=actor, decisions={"card": "reject"})
    assert personal_examples(letters, "email", pii_policy(project)).items[0].is_left_out
    page = client_for(trainer).get(url(project, letters) + "?kind=email").content.decode()
    assert page.count("this row is left out of snapshots") == 1


def test_the_page_marks_the_values_and_never_turns_them_into_markup(client_for, trainer, project, letters):
    page = client_for(trainer).get(url(project, letters)).content.decode()
    assert f"<mark>{MAIL}</mark>" in page
    assert "<ins>[EMAIL_1]</ins>" in page
    assert "&lt;b&gt;clause&lt;/b&gt;" in page
    assert "2 kinds wait for your decision" in page


def test_the_page_takes_at_most_twelve_queries(client_for, trainer, project, letters, django_assert_max_num_queries):
    client = client_for(trainer)
    with django_assert_max_num_queries(12):
        client.get(url(project, letters))


def test_deciding_by_form_holds_for_the_project_and_shows_by_whom(client_for, trainer, project, letters):
    client = client_for(trainer)
    answer = client.post(url(project, letters), {"email": "reject", "card": "mask", "iban": "mask"})
    assert answer.status_code == 302
    policy = pii_policy(project)
    assert (policy["email"], policy["card"]) == ("reject", "mask")
    page = client.get(url(project, letters)).content.decode()
    assert "by Trainer" in page
    assert "left out of snapshots" in page
    assert AuditEntry.objects.filter(act="data_policy.pii").count() == 2, "an unchanged kind that is not here is no act"


def test_a_viewer_sees_the_decisions_but_takes_none(client_for, viewer, reviewer, outsider, project, letters):
    assert client_for(viewer).get(url(project, letters)).status_code == 200
    assert client_for(reviewer).post(url(project, letters), {"email": "keep"}).status_code == 403
    assert client_for(outsider).get(url(project, letters)).status_code == 404
    assert "Save the decisions" not in client_for(viewer).get(url(project, letters)).content.decode()


def test_a_forged_choice_is_refused_in_words(client_for, trainer, project, letters):
    answer = client_for(trainer).post(url(project, letters), {"email": "burn"})
    assert answer.status_code == 422
    assert "none of these" in answer.content.decode()


def test_a_dataset_without_personal_data_says_so(client_for, trainer, project, clauses):
    page = client_for(trainer).get(url(project, clauses)).content.decode()
    assert "No personal data was found" in page
