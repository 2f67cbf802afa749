import json

from finetune_engine.evaluate.report import Case, EvaluationReport, Verdict


def report_with(answer):
    case = Case(1, "q", "r", None, answer)
    verdict = Verdict("do_not_ship", "No.")
    return EvaluationReport("chat", "test", 1, [], [], "f1", None, [], verdict, [], [], [case], {"seed": float("nan")})


def test_half_a_character_in_an_answer_does_not_lose_the_report(tmp_path):
    path = tmp_path / "report.json"
    report_with("due \ud800 now").write(path)
    assert json.loads(path.read_text())["worst"][0]["tuned_answer"] == "due ? now"


def test_what_is_no_number_is_kept_as_not_known(tmp_path):
    report_with("é").write(path := tmp_path / "report.json")
    assert json.loads(path.read_text())["run"]["seed"] is None
