"""Acceptance rules: written by an expert, tried on real answers, never altered under a report."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.storage import default_storage

from evaluation_app.models import AcceptanceRule, Evaluation
from evaluation_app.operations.rules import MOST_RULES, add_rule, change_rule, remove_rule, restore_rule
from evaluation_app.queries.rules import active_rules
from finetune_engine.errors import UserError

pytestmark = pytest.mark.django_db
LAW = {"texts": ["§"]}


@pytest.fixture
def answered(done, tmp_path) -> Evaluation:
    """The finished evaluation with four stored answers, two of which name a paragraph."""
    answers = ["See § 5.", "Yes", "§ 7 applies", ""]
    frame = pl.DataFrame(
        {
            "row": [0, 1, 2, 3],
            "prompt": ["May we terminate?", "Is rent due?", "What of <b>notice</b>?", "Anything?"],
            "reference": ["§ 5", "§ 2", "§ 7", "§ 9"],
            "tuned_answer": answers,
            "tuned_correct": [True, False, True, False],
        }
    )
    frame.write_parquet(tmp_path / "samples.parquet")
    with open(tmp_path / "samples.parquet", "rb") as file:
        done.samples_name = default_storage.save("evaluations/x/samples.parquet", file)
    done.save()
    return done


@pytest.fixture
def pages(client_for, reviewer, project):
    client = client_for(reviewer)
    base = f"/p/{project.slug}/results"

    class Pages:
        def get(self, path: str, status: int = 200) -> str:
            response = client.get(f"{base}/{path}")
            assert response.status_code == status, response.status_code
            return response.content.decode()

        def post(self, path: str, data: dict[str, Any], status: int = 302) -> str:
            response = client.post(f"{base}/{path}", data)
            assert response.status_code == status, response.content.decode()[:2000]
            return response.content.decode()

    return Pages()


def test_a_rule_goes_into_the_spec_of_later_evaluations_with_its_defaults(actor, project) -> None:
    rule = add_rule(actor=actor, name="Names a paragraph", kind="contains", demand=LAW)
    assert active_rules(project) == [
        {
            "id": rule.pk,
            "name": "Names a paragraph",
            "kind": "contains",
            "demand": {"texts": ["§"], "all": True, "ignore_case": True},
        }
    ]


def test_a_removed_rule_no_longer_applies_and_can_be_put_back(actor, project) -> None:
    rule = add_rule(actor=actor, name="x", kind="contains", demand=LAW)
    remove_rule(actor=actor, rule=rule)
    assert active_rules(project) == []
    restore_rule(actor=actor, rule=rule)
    assert [found["id"] for found in active_rules(project)] == [rule.pk]


def test_a_changed_rule_is_a_new_one_so_that_reports_keep_theirs(actor, project) -> None:
    rule = add_rule(actor=actor, name="x", kind="contains", demand=LAW)
    changed = change_rule(actor=actor, rule=rule, name="x", demand={"texts": ["Art."]})
    assert changed.pk != rule.pk
    rule.refresh_from_db()
    assert rule.demand["texts"] == ["§"]
    assert [found["id"] for found in active_rules(project)] == [changed.pk]


def test_a_change_of_nothing_keeps_the_rule(actor) -> None:
    rule = add_rule(actor=actor, name="x", kind="contains", demand=LAW)
    assert change_rule(actor=actor, rule=rule, name="x", demand=LAW).pk == rule.pk


def test_the_same_rule_twice_is_one(actor) -> None:
    first = add_rule(actor=actor, name="x", kind="contains", demand=LAW)
    assert add_rule(actor=actor, name="x", kind="contains", demand={"texts": ["§"], "ignore_case": True}).pk == first.pk


def test_more_rules_than_the_limit_are_refused(actor, project) -> None:
    AcceptanceRule.objects.bulk_create(
        AcceptanceRule(project=project, name=str(n), kind="contains", demand=LAW) for n in range(MOST_RULES)
    )
    with pytest.raises(UserError, match="100 rules at a time"):
        add_rule(actor=actor, name="one more", kind="contains", demand=LAW)


def test_every_change_is_in_the_audit_trail(actor, project) -> None:
    from accounts_app.models import AuditEntry

    rule = add_rule(actor=actor, name="x", kind="contains", demand=LAW)
    restore_rule(actor=actor, rule=remove_rule(actor=actor, rule=rule))
    acts = AuditEntry.objects.filter(project=project, subject=f"rule {rule.pk}").order_by("id")
    assert list(acts.values_list("act", flat=True)) == ["rule.add", "rule.remove", "rule.restore"]


def test_a_viewer_may_not_write_one(project, viewer) -> None:
    from accounts_app.permissions import project_for

    with pytest.raises(PermissionDenied):
        add_rule(actor=project_for(viewer, project.slug, "view"), name="x", kind="contains", demand=LAW)


def test_trying_a_rule_says_how_many_stored_answers_would_fail_and_keeps_nothing(pages, answered) -> None:
    text = pages.post("rules/new?kind=contains", {"texts": "§", "all": "all", "act": "try"}, 200)
    assert "2 of 4 answers of your newest model, Clauses, would fail" in text
    assert "Is rent due?" in text
    assert "The answer is empty." in text
    assert not AcceptanceRule.objects.exists()


def test_a_pasted_answer_is_judged_on_the_spot(pages) -> None:
    sent = {"texts": "§", "all": "all", "answer": "No such thing", "act": "try"}
    text = pages.post("rules/new?kind=contains", sent, 200)
    assert "Your answer would fail" in text
    assert "The answer does not contain “§”." in text


def test_an_if_then_rule_is_tried_with_a_question(pages) -> None:
    sent = {"if_mentions": "rent", "then_mentions": "§ 535", "all": "all", "ignore_case": "on", "act": "try"}
    text = pages.post("rules/new?kind=if_then", sent | {"question": "Who pays the rent?", "answer": "The tenant"}, 200)
    assert "The question mentions “rent”, but the answer does not mention “§ 535”." in text


@pytest.mark.parametrize(
    ("kind", "sent", "sentence"),
    [
        ("contains", {"texts": "one month\n30 days", "all": "any", "ignore_case": "on"},
         "The answer must contain “one month” or “30 days”."),
        ("excludes", {"texts": "refund"}, "The answer must not contain “refund”. Capital letters count."),
        ("matches", {"pattern": r"^\d{4}$"},
         "The answer must match a pattern: the beginning of the answer, then 4 digits, then the end of the answer."),
        ("avoids", {"pattern": "(?i)foo"}, "Nothing in the answer may match a pattern: “foo”."),
        ("length", {"least": 1, "most": 20, "unit": "words"}, "The answer must have 1 to 20 words."),
        ("if_then", {"if_mentions": "rent", "then_mentions": "§ 535", "all": "all", "ignore_case": "on"},
         "If the question mentions “rent”, the answer must mention “§ 535”."),
        ("json_schema", {"schema": '{"required": ["amount"]}'}, "The answer must be JSON with “amount”."),
        ("labels", {"labels": "Payment\nTerm", "ignore_case": "on"},
         "The answer must be one of “Payment” or “Term”."),
    ],
)  # fmt: skip
def test_each_kind_can_be_written_in_its_form_and_is_called_by_its_words(pages, project, kind, sent, sentence) -> None:
    pages.post(f"rules/new?kind={kind}", sent | {"act": "save"})
    rule = AcceptanceRule.objects.get()
    assert (rule.kind, rule.name) == (kind, sentence[:120])
    assert sentence.replace("'", "&#x27;") in pages.get("rules")


def test_a_pattern_that_cannot_be_run_safely_is_refused_with_what_was_typed(pages) -> None:
    text = pages.post("rules/new?kind=matches", {"pattern": "(?=x)y", "act": "save"}, 422)
    assert "Look-ahead, look-behind and back-references are not available" in text
    assert 'value="(?=x)y"' in text


def test_the_labels_of_the_data_are_filled_in(pages, snapshot) -> None:
    snapshot.labels = {"train": {"Payment": 3, "Term": 5}}
    snapshot.save()
    assert "Term\nPayment</textarea>" in pages.get("rules/new?kind=labels")


def test_the_form_of_a_rule_comes_filled_in_as_it_was(pages, actor) -> None:
    rule = add_rule(
        actor=actor, name="Short", kind="contains", demand={"texts": ["a", "b"], "all": False, "ignore_case": False}
    )
    text = pages.get(f"rules/{rule.pk}")
    assert "a\nb</textarea>" in text
    assert '<option value="any" selected>' in text
    assert 'name="ignore_case" ' in text
    assert 'id="id_ignore_case" checked' not in text


def test_a_rule_is_changed_removed_and_put_back_on_the_pages(pages, actor, project) -> None:
    rule = add_rule(actor=actor, name="Old", kind="contains", demand=LAW)
    pages.post(f"rules/{rule.pk}", {"texts": "Art.", "all": "all", "name": "New", "act": "save"})
    (found,) = active_rules(project)
    assert (found["name"], found["demand"]["texts"]) == ("New", ["Art."])
    pages.post(f"rules/{found['id']}/remove", {})
    assert active_rules(project) == []
    pages.post(f"rules/{found['id']}/restore", {})
    assert active_rules(project) == [found]


def test_the_list_says_how_the_newest_model_did(pages, actor, done) -> None:
    rule = add_rule(actor=actor, name="Names a paragraph", kind="contains", demand=LAW)
    done.report = done.report | {
        "acceptance": [{"id": rule.pk, "name": rule.name, "kind": "contains", "n": 40, "passed": 31, "rate": 0.775}]
    }
    done.save()
    assert "9 of 40 fail" in pages.get("rules")


def test_words_in_a_rule_are_never_markup(pages, actor) -> None:
    add_rule(actor=actor, name="<b>x</b>", kind="contains", demand={"texts": ["<script>alert(1)</script>"]})
    text = pages.get("rules")
    assert "<b>x</b>" not in text
    assert "<script>alert(1)" not in text


def test_another_projects_rule_is_like_a_missing_one(client_for, outsider, actor) -> None:
    from accounts_app.models import Project

    rule = add_rule(actor=actor, name="x", kind="contains", demand=LAW)
    theirs = Project.objects.get(memberships__user=outsider)
    client = client_for(outsider)
    assert client.get(f"/p/{theirs.slug}/results/rules/{rule.pk}").status_code == 404
    assert client.post(f"/p/{theirs.slug}/results/rules/{rule.pk}/remove").status_code == 404
    rule.refresh_from_db()
    assert rule.removed_at is None


def test_the_api_adds_tries_changes_removes_and_restores(client, api_key, answered) -> None:
    head = {"HTTP_AUTHORIZATION": f"Bearer {api_key('train')}", "content_type": "application/json"}
    made = client.post("/api/v1/rules", {"name": "Law", "kind": "contains", "demand": LAW}, **head)
    assert made.status_code == 201
    assert made.json()["sentence"] == "The answer must contain “§”."
    tried = client.post("/api/v1/rules/try", {"kind": "contains", "demand": LAW, "answer": "no"}, **head).json()
    assert tried["answer"] == {"passes": False, "why": "The answer does not contain “§”."}
    assert (tried["newest_model"]["failed"], tried["newest_model"]["n"]) == (2, 4)
    changed = client.patch(f"/api/v1/rules/{made.json()['id']}", {"name": "Statute"}, **head).json()
    assert changed["name"] == "Statute"
    assert client.delete(f"/api/v1/rules/{changed['id']}", **head).json()["removed_at"]
    assert client.get("/api/v1/rules", **head).json()["data"] == []
    assert client.post(f"/api/v1/rules/{changed['id']}/restore", **head).json()["removed_at"] is None
    assert [rule["id"] for rule in client.get("/api/v1/rules", **head).json()["data"]] == [changed["id"]]


def test_the_api_names_the_field_of_a_bad_demand(client, api_key, project) -> None:
    head = {"HTTP_AUTHORIZATION": f"Bearer {api_key('train')}", "content_type": "application/json"}
    answer = client.post("/api/v1/rules", {"name": "x", "kind": "matches", "demand": {"pattern": "("}}, **head)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "pattern"


def test_answers_that_one_judges_blind_are_not_shown_by_trying_a_rule(pages, answered, project) -> None:
    from evaluation_app.models import Review

    Review.objects.create(project=project, evaluation=answered, name="x", kind="pairs", keys=["base", "tuned"], seed=1)
    text = pages.post("rules/new?kind=contains", {"texts": "§", "all": "all", "act": "try"}, 200)
    assert "you are judging its answers blind" in text
    assert "Is rent due?" not in text


def test_lost_answers_are_not_said_to_pass(pages, answered) -> None:
    default_storage.delete(answered.samples_name)
    text = pages.post("rules/new?kind=contains", {"texts": "§", "all": "all", "act": "try"}, 200)
    assert "would pass" not in text
    assert "its answers are no longer kept" in text
