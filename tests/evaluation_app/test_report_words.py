"""What a report says must hold for whatever was compared, and contradict neither its figures nor its verdict."""

from __future__ import annotations

import csv
import io
import re

import pytest
from django.utils import timezone

from tests.evaluation_app.full_report import full_report
from tests.evaluation_app.test_report_files import finished

pytestmark = pytest.mark.django_db


def whole(evaluation):
    from evaluation_app.queries.report.whole import whole_report

    return whole_report(evaluation)


@pytest.fixture
def rival_report():
    """As the full one, but the other model is no base model, and has a key of its own."""
    report = full_report() | {"against": "asked"}
    report["models"][2] |= {"name": "Last year's model", "kind": "endpoint"}
    return report


def test_nothing_is_called_before_training_where_another_model_is_compared(evaluation, rival_report) -> None:
    from evaluation_app.queries.report.summary import key_figures

    found = whole(finished(evaluation, rival_report))
    assert key_figures(found)[0][2] == "58.0% by Last year's model"
    sentences = " ".join(group.sentence for group in found.view.groups)
    assert "training" not in sentences
    assert "Cases that Last year's model answered better." in sentences


def test_the_difference_is_shown_whatever_the_key_of_the_other_model(evaluation, rival_report) -> None:
    headline = next(row for row in whole(finished(evaluation, rival_report)).view.rows if row.is_headline)
    assert headline.difference.startswith("+30.8 points against Last year's model")


def test_the_csv_names_both_sides_of_a_difference_and_gives_the_interval_to_the_subject_alone(
    evaluation, rival_report
) -> None:
    from evaluation_app.exports.csv_report import report_csv

    text = report_csv(whole(finished(evaluation, rival_report))).decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert {line["model"] for line in lines if line["suite"] == "comparison"} == {"Clauses - Last year's model"}
    scores = [line for line in lines if (line["metric"], line["part"]) == ("typo_resistance", "")]
    assert [line["model"] for line in scores if line["ci_low"]] == ["Clauses"]


def test_a_rule_that_no_answer_was_held_against_is_not_kept(evaluation) -> None:
    from evaluation_app.queries.report.summary import key_figures

    report = full_report()
    unasked = report["acceptance"][1] | {"n": 0, "passed": 0, "rate": None, "ci_low": None, "ci_high": None}
    report |= {"acceptance": [unasked], "regressions": {"n": 0, "passed": 0, "failed": []}}
    found = whole(finished(evaluation, report))
    assert (found.section("rules").state, found.section("rules").tone) == ("not asked", "idle")
    assert "Acceptance rules kept" not in [name for name, _value, _note in key_figures(found)]


@pytest.mark.parametrize(
    ("difference", "p_value", "is_said"), [(0.2, 0.001, False), (0.2, 0.3, True), (-0.2, 0.001, True)]
)
def test_prompting_is_advised_unless_training_was_shown_to_earn_more(evaluation, difference, p_value, is_said) -> None:
    report = full_report() | {"clusters": [], "slices": [], "robustness": [], "fairness": None}
    report["prompting"] |= {"subject_value": 0.8, "difference": difference, "p_value": p_value}
    said = [act for act in whole(finished(evaluation, report)).advice if act.anchor == "prompting"]
    assert bool(said) is is_said


def closed_review(evaluation, judge):
    from evaluation_app.models import Review

    rate = {"rate": 0.7, "ci_low": 0.5, "ci_high": 0.9, "p_value": 0.04, "decisive": 40, "sentence": "Preferred."}
    results = {
        "review": "r",
        "name": "Blind",
        "kind": "pairs",
        "is_closed": True,
        "items": 50,
        "hardest_items": 0,
        "raters_per_item": 1,
        "votes": 50,
        "complete_items": 50,
        "models": [{"key": "tuned", "name": "Clauses"}, {"key": "base", "name": "demo-base"}],
        "pairs": {"items": rate},
        "meter": {"is_enough": True},
        "judge": judge,
    }
    return Review.objects.create(
        project=evaluation.project,
        evaluation=evaluation,
        name="Blind",
        kind="pairs",
        state="closed",
        seed=1,
        keys=["tuned", "base"],
        closed_at=timezone.now(),
        results=results,
    )


def test_the_judge_stands_beside_people_who_decided_the_same_cases(evaluation) -> None:
    from finetune_engine.evaluate.people.judge_and_people import agreement_with_humans

    full = finished(evaluation, full_report())
    people = [{"row": row, "choice": "win" if row % 2 else "loss"} for row in range(40)]
    closed_review(full, agreement_with_humans([*people[:36], {"row": 39, "choice": "loss"}], people))
    table, told, facts = whole(full).section("judge").blocks
    assert table.kind == "table"
    assert told.items[0].tone == "ok"
    assert "the judge agreed with the people in 97" in told.items[0].text
    assert dict(facts.items)["Same winner, where both named one"].startswith("97.3% of 37 (")


def test_a_judge_that_no_people_stand_beside_says_so(evaluation) -> None:
    told = whole(finished(evaluation, full_report())).section("judge").blocks[1]
    assert told.items[0].tone == "warn"
    assert told.items[0].text.startswith("Not known")


def test_a_signature_under_another_report_is_never_shown_as_one_under_this(actor, evaluation) -> None:
    from evaluation_app.exports.model_card import model_card
    from evaluation_app.operations import sign_off_model

    full = finished(evaluation, full_report())
    model = full.trained_model
    sign_off_model(actor=actor, trained_model=model, evaluation=full, statement="Only behind a person.")
    again = finished(evaluation, full_report() | {"n": 121})
    found = whole(again)
    assert found.signature.rests_on == "on another report"
    assert "> Only behind a person" not in model_card(found)
    assert "(on another report)" in model_card(found)
    sign_off_model(actor=actor, trained_model=model, evaluation=again, statement="Behind two persons.")
    assert whole(again).signature.statement == "Behind two persons."


def test_a_long_statement_is_printed_to_its_end(evaluation, actor) -> None:
    from evaluation_app.exports.pdf import sections
    from evaluation_app.exports.pdf.paper import Paper
    from evaluation_app.queries.report.blocks import Facts, Section

    written: list[str] = []

    class Watched(Paper):
        def write_lines(self, lines, *args, **kwargs):
            written.extend(lines)
            return super().write_lines(lines, *args, **kwargs)

    pdf = Watched([], head="", tail="", foot="")
    pdf.add_page()
    statement = " ".join(f"word{n}" for n in range(900))
    sections.draw_section(pdf, Section("s", "Sign-off", "", [Facts([("Statement", statement)])]))
    assert " ".join(written).split()[-1] == "word899"
    assert pdf.page_no() > 1


def test_figures_after_a_name_in_another_script_are_drawn_in_the_right_letters(tmp_path) -> None:
    from evaluation_app.exports.pdf.paper import Paper

    letter = "\N{THAI CHARACTER KO KAI}"
    pdf = Paper([], head="", tail="", foot="")
    pdf.add_font("Other0", "", one_letter_font(tmp_path / "thai.ttf", letter))
    pdf.set_fallback_fonts(["Other0"], exact_match=False)
    pdf.add_page()
    pdf.pen(8)
    pdf.cell(40, 4, f"{letter} Clauses")
    pdf.cell(40, 4, "80.8%")
    own, other = pdf.fonts["dejavu"].i, pdf.fonts["other0"].i
    assert fonts_of_texts(pdf.pages[1].contents.decode("latin-1")) == [other, own, own]


def one_letter_font(path, letter):
    """A font that draws one letter, as an omega."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    from evaluation_app.exports.pdf import fonts

    font, chosen = TTFont(fonts.REGULAR), subset.Subsetter()
    chosen.populate(unicodes=[ord("Ω")])
    chosen.subset(font)
    for table in font["cmap"].tables:
        table.cmap = {ord(letter): name for name in table.cmap.values()}
    font.save(path)
    return path


def fonts_of_texts(stream: str) -> list[int]:
    """The number of the font that each text of a page is drawn in, as a reader keeps it: ``q`` and ``Q`` save and restore."""
    now, saved, found = 0, [], []
    for word in re.finditer(r"/F(?P<font>\d+) [\d.]+ Tf|[)\]] T(?P<text>[jJ])|(?<!\S)(?P<state>[qQ])(?!\S)", stream):
        if word["font"]:
            now = int(word["font"])
        elif word["text"]:
            found.append(now)
        elif word["state"] == "q":
            saved.append(now)
        else:
            now = saved.pop()
    return found
