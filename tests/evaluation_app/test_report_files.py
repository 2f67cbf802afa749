"""The report as files: the same figures in each, nothing of people's data as markup or formula."""

from __future__ import annotations

import csv
import io
import zlib

import pytest

from tests.evaluation_app.full_report import full_report

pytestmark = pytest.mark.django_db


@pytest.fixture
def full(evaluation):
    """The evaluation, finished with everything measured."""
    return finished(evaluation, full_report())


def finished(evaluation, report):
    from evaluation_app.operations import keep_report
    from work_kit.models import Job

    keep_report(evaluation_id=evaluation.pk, report=report, samples_name="")
    Job.objects.filter(pk=evaluation.pk).update(state="succeeded", phase="done", finished_at="2026-11-20T10:00:00Z")
    evaluation.refresh_from_db()
    return evaluation


@pytest.fixture
def download(client_for, viewer, project):
    client = client_for(viewer)

    def get(evaluation, name: str) -> bytes:
        response = client.get(f"/p/{project.slug}/results/{evaluation.pk}/{name}")
        assert response.status_code == 200, response.content[:500]
        assert response["Content-Disposition"].startswith("attachment")
        return response.content

    return get


def test_the_json_is_the_engines_report_with_what_people_added(full, actor, client, api_key) -> None:
    from evaluation_app.operations import sign_off_model
    from evaluation_app.queries.sign_offs import report_sha256

    sign_off_model(actor=actor, trained_model=full.trained_model, evaluation=full, statement="Only behind a person.")
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    body = client.get(f"/api/v1/evaluations/{full.pk}/report.json", headers=headers).json()
    assert full_report().items() <= body.items()
    assert body["sign_off"]["statement"] == "Only behind a person."
    assert body["sign_off"]["report_sha256"] == body["report_sha256"] == report_sha256(full)
    assert body["lineage"]["judged_on"]["sha256"] == "1" * 64
    assert body["kpis"]["domain_performance"]["f1"]["expected"] == pytest.approx(0.778)
    assert body["human"] is None


def test_the_csv_has_every_score_of_every_model(full, download) -> None:
    text = download(full, "report.csv").decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(text)))
    found = {
        (line["model"], line["suite"], line["metric"], line["part"]): (line["value"], line["ci_low"]) for line in lines
    }
    for model in full_report()["models"]:
        for score in model["scores"]:
            value, low = found[(model["name"], "quality", score["metric"], "")]
            assert (float(value), float(low)) == (score["value"], score["ci_low"])
    assert found[("Clauses", "robustness", "typo_resistance", "degradation")][0].startswith("0.76")
    assert found[("Clauses", "fairness", "accuracy by country", "Malta")][0] == "", "a suppressed group has no figure"


def test_no_cell_of_the_csv_acts_as_a_formula(evaluation, download) -> None:
    report = full_report()
    report["models"][1]["name"] = "=HYPERLINK(1)"
    report["models"][1]["per_class"][0]["label"] = "+1+1"
    text = download(finished(evaluation, report), "report.csv").decode("utf-8-sig")
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert "'=HYPERLINK(1)" in cells
    assert "'+1+1" in cells
    assert not any(cell.startswith(("=", "@")) for cell in cells)


def test_the_printable_page_needs_nothing_else_and_runs_nothing(full, download) -> None:
    page = download(full, "report.html").decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page
    for loaded in (' src="', "url(", "@import", "<link"):
        assert loaded not in page, loaded
    assert "What do people say?" in page


def test_the_model_card_has_its_parts_and_escapes_what_people_wrote(evaluation, download) -> None:
    report = full_report()
    report["models"][1]["per_class"][0]["label"] = "[click](http://bad) | *x*"
    card = download(finished(evaluation, report), "model-card.md").decode()
    for heading in ("What it may be used for", "Where do model and data come from?", "The figures", "Sign\\-off"):
        assert f"## {heading}".replace("\\-", "-") in card
    assert r"\[click\](http://bad) \| \*x\*" in card
    assert "72.8% to 87.8%" in card


def test_the_same_report_gives_the_same_pdf(full) -> None:
    from evaluation_app.exports.pdf.report import report_pdf
    from evaluation_app.queries.report.whole import whole_report

    first, second = report_pdf(whole_report(full)), report_pdf(whole_report(full))
    assert first == second
    assert first.startswith(b"%PDF-")


def test_the_pdf_says_what_it_is_and_has_the_verdict_the_rules_and_page_numbers(full, download) -> None:
    data = download(full, "report.pdf")
    assert b"/DisplayDocTitle true" in data
    assert b"Evaluation of Clauses" in data or "Evaluation of Clauses".encode("utf-16-be") in data
    assert b"/Lang (en" in data
    assert data.count(b"/Type /Page\n") >= 6
    assert b"/Outlines" in data


def test_letters_of_other_scripts_are_drawn_or_shown_as_a_box_with_a_footnote(evaluation, settings) -> None:
    from evaluation_app.exports.pdf import fonts
    from evaluation_app.exports.pdf.paper import Paper

    letters = fonts.own_letters()
    assert fonts.missing_from(["Ärger, Žluťoučký, Привет, Γειά, “—”"], letters) == set()
    absent = fonts.missing_from(["ไทย"], letters)
    assert absent
    assert fonts.fallbacks_for(absent, folders=["/nowhere"]) == []
    pdf = Paper([], head="", tail="", foot="")
    pdf.add_page()
    pdf.pen(10)
    assert pdf.clean("a\N{THAI CHARACTER KO KAI}b") == f"a{fonts.BOX}b"
    assert pdf.missing == {"\N{THAI CHARACTER KO KAI}"}


def test_a_font_of_the_machine_is_taken_for_what_is_missing(tmp_path) -> None:
    from fontTools import subset
    from fontTools.ttLib import TTFont

    from evaluation_app.exports.pdf import fonts

    font = TTFont(fonts.REGULAR)
    chosen = subset.Subsetter()
    chosen.populate(unicodes=[ord("Ω")])
    chosen.subset(font)
    font.save(tmp_path / "omega.ttf")
    (tmp_path / "broken.ttf").write_bytes(zlib.compress(b"no font"))
    assert fonts.fallbacks_for({ord("Ω")}, folders=[str(tmp_path)]) == [tmp_path / "omega.ttf"]


def test_a_report_of_the_first_version_makes_every_file(done, download) -> None:
    for name in ("report.json", "report.csv", "report.html", "report.pdf", "model-card.md"):
        assert len(download(done, name)) > 500, name


def test_long_words_and_many_rows_stay_on_the_page(evaluation) -> None:
    from evaluation_app.exports.pdf.report import report_pdf
    from evaluation_app.queries.report.whole import whole_report

    report = full_report()
    row = report["models"][1]["per_class"][0]
    report["models"][1]["per_class"] = [row | {"label": f"{n}-" + "x" * 300} for n in range(60)]
    report["models"][1]["name"] = "M" * 200
    report["improved"][0]["prompt"] = "word " * 5000
    assert report_pdf(whole_report(finished(evaluation, report))).startswith(b"%PDF-")


def test_no_file_before_the_end(client, evaluation, api_key) -> None:
    headers = {"Authorization": f"Bearer {api_key('read')}"}
    answer = client.get(f"/api/v1/evaluations/{evaluation.pk}/report.pdf", headers=headers)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "no_report"
