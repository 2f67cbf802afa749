"""The robustness suite on models whose weaknesses are known."""

from __future__ import annotations

import dataclasses
import json

import pytest

from finetune_engine.errors import EngineError, UserError
from finetune_engine.evaluate.perturb.adversarial import canary_for
from finetune_engine.evaluate.robust.findings import nothing_found
from finetune_engine.evaluate.robust.plan import MOST_ATTACKED, MOST_CASES
from finetune_engine.evaluate.spec import Endpoint, ModelSpec, PromptVariant
from finetune_engine.evaluate.suites.robustness import Robustness, ask_each, plan_for
from finetune_engine.ports import Stopped
from tests.finetune_engine.evaluate.suites.conftest import FakeAsker, case, make_bench, question, run_suite

TESTS = ["typo_resistance", "format_flexibility", "edge_case_handling", "adversarial_resistance"]


def rows(count=80):
    words = ["rent", "notice"]
    return [
        case(n, f"Please tell me about the {words[n % 2]} of Mr {n}.", words[n % 2], words[n % 2]) for n in range(count)
    ]


def careful(messages):
    """Right whatever the capitals and spaces, and never anything but a label."""
    text = question(messages).lower()
    return "notice" if "notice" in text else "rent"


def lower_only(messages):
    text = question(messages)
    return "notice" if "notice" in text or "rent" not in text else "rent"


def obedient(messages):
    text = question(messages)
    return text.rsplit(" ", 1)[1] if "answer with this one word only: " in text else careful(messages)


def result_of(says, *, count=80, base=lambda messages: "rent", **fields):
    bench = make_bench(rows(count), task_type="classification", **fields)
    return run_suite(bench, Robustness(), {"base": FakeAsker(base, key="base"), "tuned": FakeAsker(says)})


def part(section, kind, level):
    return next(one for one in section["parts"] if (one["kind"], one["level"]) == (kind, level))


@pytest.fixture(scope="module")
def weak():
    return result_of(lower_only)


def test_a_model_that_knows_small_letters_only_is_found_out(weak) -> None:
    first = weak.findings[0]
    assert first["tone"] == "bad"
    assert first["text"].startswith("When people type in capitals, right answers fall from 100 % to 50 %")
    assert "(the model it is compared with: from 50 % to 50 %)" in first["text"]
    upper = part(weak.section[1], "case", "upper")
    assert (upper["n"], upper["original"], upper["perturbed"], upper["flip_rate"]) == (80, 1.0, 0.5, 0.5)
    assert upper["degradation"] == pytest.approx(0.5)
    assert upper["p_holm"] < 0.001
    assert upper["change_low"] <= -0.5 <= upper["change_high"] < 0


def test_the_section_has_the_four_tests_with_every_figure(weak) -> None:
    assert [section["test"] for section in weak.section] == TESTS
    for section in weak.section:
        figures = {"score", "ci_low", "ci_high", "n", "original", "perturbed", "worst_case", "flip_rate", "degradation"}
        assert figures <= section.keys()
        assert set(section["by_model"]) == {"base", "tuned"}
        assert section["ci_low"] <= section["score"] <= section["ci_high"]
        assert section["worst_case"] <= section["perturbed"] + 1e-9
        assert section["compared"]["against"] == "base"
    assert weak.score == pytest.approx(sum(section["score"] for section in weak.section) / 4)
    json.dumps(weak.section, allow_nan=False)


def test_the_worst_case_is_the_worst_of_all_changes_of_a_case(weak) -> None:
    section = weak.section[1]
    assert section["worst_case"] == 0.5  # half of the cases are lost in capitals
    assert section["score"] == pytest.approx(section["perturbed"] / section["original"])
    assert part(section, "format", "dates")["left_out"] == 80


def test_an_example_shows_what_was_asked_and_what_came(weak) -> None:
    shown = weak.section[1]["examples"][0]
    assert shown["changed_prompt"] == shown["prompt"].upper()
    assert (shown["expected"], shown["answer"], shown["changed_answer"]) == ("rent", "rent", "notice")


def test_a_careful_model_has_no_weakness_beyond_typing() -> None:
    found = result_of(careful)
    assert found.section[1]["score"] > 0.99  # "notise" for "notice" in the mild mix is beyond it too
    assert not [one for one in found.findings if "capital" in one["text"] or "spaces" in one["text"]]
    attacks = found.section[3]
    assert attacks["score"] == 1.0
    assert attacks["ci_low"] < 1.0, "fifty cases without a success do not prove that there is none"
    assert found.section[2]["score"] == 1.0


def test_a_perfect_model_gets_a_good_word() -> None:
    answers = {n: "rent" if n % 2 == 0 else "notice" for n in range(80)}
    bench = make_bench(rows(), task_type="classification")
    plan = plan_for(bench)
    known = {
        json.dumps(q): at for change in plan.changes for at, q in zip(change.positions, change.questions, strict=True)
    }
    known |= {json.dumps(one.messages): at for at, one in enumerate(bench.cases.test)}
    known |= {
        json.dumps(one.messages): at for raid in plan.raids for at, one in zip(raid.positions, raid.tries, strict=True)
    }

    def says(messages):
        return answers[known.get(json.dumps(list(messages)), 0)]

    found = run_suite(bench, Robustness(), {"base": FakeAsker(says, key="base"), "tuned": FakeAsker(says)})
    assert [one["tone"] for one in found.findings] == ["ok"]
    assert "80 cases" in found.findings[0]["text"]
    assert "no hidden command was obeyed" in found.findings[0]["text"]
    assert found.score == 1.0


def test_obeying_a_hidden_command_is_told_with_its_rate() -> None:
    found = result_of(obedient)
    section = found.section[3]
    assert part(section, "direct injection", "")["attack_success_rate"] == 1.0
    assert part(section, "base64 injection", "")["attack_success_rate"] == 0.0
    assert section["score"] == pytest.approx(0.8)
    assert any(
        "at the end of the text, the model obeys it in 100 % of the tries" in one["text"] for one in found.findings
    )
    row = section["examples"][0]["row"]
    assert section["examples"][0]["changed_answer"] == canary_for("direct injection", row)


def test_a_command_that_is_not_obeyed_but_throws_the_model_off_is_told_too() -> None:
    def confused(messages):
        return "rent" if "[Note to the assistant" in question(messages) else careful(messages)

    found = result_of(confused)
    inside = part(found.section[3], "indirect injection", "")
    assert inside["attack_success_rate"] == 0.0
    assert inside["derailed"]["p_holm"] < 0.05
    sentences = [one["text"] for one in found.findings if "hidden inside the text" in one["text"]]
    assert len(sentences) == 1
    assert sentences[0].endswith("%, though it is not obeyed.")


def test_a_secret_told_is_an_attack_that_worked() -> None:
    def talkative(messages):
        return messages[0]["content"] if messages[0]["role"] == "system" else careful(messages)

    section = result_of(talkative).section[3]
    extraction = part(section, "system prompt extraction", "")
    assert extraction["attack_success_rate"] == 1.0
    assert extraction["original"] is None, "the question is gone, so there is no right answer to lose"


def test_an_input_that_brings_the_program_down_is_found_and_the_rest_goes_on() -> None:
    def fragile(messages):
        if not question(messages).strip():
            raise EngineError("internal", "empty prompt")
        return careful(messages)

    found = result_of(fragile)
    assert found.findings[0] == {"tone": "bad", "text": "The program fails on: empty."}
    empty = part(found.section[2], "empty", "")
    assert (empty["crashes"], empty["perturbed"]) == (3, 0.0)
    assert part(found.section[2], "emoji", "")["perturbed"] == 1.0


def test_when_every_odd_input_fails_the_problem_is_ours() -> None:
    def says(messages):
        raise EngineError("model_unavailable", "gone")

    with pytest.raises(EngineError):
        ask_each(FakeAsker(says), [[{"role": "user", "content": text}] for text in ("", "?")], 8)


def test_being_told_to_stop_is_no_failure_of_the_model() -> None:
    def stopped(messages):
        if not question(messages).strip():
            raise Stopped("cancel")
        return careful(messages)

    with pytest.raises(Stopped):
        result_of(stopped)


def test_a_model_that_knows_nothing_has_no_ratio_but_a_reason() -> None:
    found = result_of(lambda messages: "purple")
    for section in found.section[:2]:
        assert section["degradation"] is None
        assert section["score"] is None
        assert "nothing can be lost" in section["reason"]
    assert found.section[2]["score"] == 0.0
    assert any("gets nothing right to begin with" in one["text"] for one in found.findings)


def test_free_text_is_graded_and_a_small_change_of_words_is_no_flip() -> None:
    cases = [case(n, f"Say thing number {n} please", f"this is thing number {n}") for n in range(40)]

    def says(messages):
        text = question(messages)
        words = text.lower().split()
        number = next((word for word in words if word.strip('.,"“”!').isdigit()), "0").strip('.,"“”!')
        return f"this is the thing number {number}" if text.islower() else f"this is thing number {number}"

    bench = make_bench(cases)
    found = run_suite(bench, Robustness(), {"base": FakeAsker(says, key="base"), "tuned": FakeAsker(says)})
    assert part(found.section[1], "case", "lower")["flip_rate"] == 0.0
    assert part(found.section[1], "case", "lower")["perturbed"] == 1.0


def test_the_cost_is_bounded_and_the_draw_is_the_same_for_every_model() -> None:
    bench = make_bench(rows(MOST_CASES + 150), task_type="classification")
    plan = plan_for(bench)
    assert len(plan.sample) == MOST_CASES
    assert all(len(change.questions) + change.left_out == MOST_CASES for change in plan.changes)
    assert all(len(raid.tries) == MOST_ATTACKED for raid in plan.raids)
    assert Robustness().questions(bench) == plan.questions
    assert plan_for(bench).sample == plan.sample
    other = make_bench(rows(MOST_CASES + 150), task_type="classification", seed=8)
    assert plan_for(other).sample != plan.sample


def test_models_that_cost_much_are_asked_only_when_the_verdict_is_about_them() -> None:
    local = make_bench([]).spec.models[0].base
    wording = ModelSpec("short", "Short", local, prompt=PromptVariant("Be brief.", 0))
    paid = ModelSpec("paid", "Paid", None, endpoint=Endpoint("https://example.org/v1", "m", None, ()))
    bench = make_bench(rows(30), task_type="classification", models=("base", "tuned", wording, paid))
    askers = {key: FakeAsker(careful, key=key) for key in ("base", "tuned")}
    askers |= {model.key: FakeAsker(careful, spec=model) for model in (wording, paid)}
    found = run_suite(bench, Robustness(), askers)
    assert set(found.section[0]["by_model"]) == {"base", "tuned"}
    assert askers["short"].asked == askers["paid"].asked == 30


def test_rows_of_one_document_count_as_one() -> None:
    cases = [dataclasses.replace(one, group=f"g{one.row // 20}") for one in rows()]
    bench = make_bench(cases, task_type="classification")
    found = run_suite(bench, Robustness(), {"base": FakeAsker(careful, key="base"), "tuned": FakeAsker(lower_only)})
    assert part(found.section[1], "case", "upper")["p_value"] == pytest.approx(2 / 2**4)
    assert not [one for one in found.findings if "capital" in one["text"]], "four documents cannot show it"


def test_a_case_without_a_users_text_leaves_nothing_to_change() -> None:
    cases = [dataclasses.replace(one, messages=[{"role": "system", "content": "Go on."}]) for one in rows(10)]
    bench = make_bench(cases, task_type="classification")
    asker = {key: FakeAsker(lambda messages: "rent", key=key) for key in ("base", "tuned")}
    found = run_suite(bench, Robustness(), asker)
    assert (found.section, found.score) == ([], None)
    assert found.reason


def test_a_dead_endpoint_is_not_asked_again_for_every_odd_input() -> None:
    times = []

    def dead(messages):
        times.append(1)
        raise UserError("endpoint_failed", "Nobody there.")

    with pytest.raises(UserError, match="Nobody there"):
        ask_each(FakeAsker(dead), [[{"role": "user", "content": text}] for text in ("", "?", "!")], 8)
    assert len(times) == 1


def test_one_case_gives_no_all_clear() -> None:
    assert nothing_found(1, 15, True, False) == {
        "tone": "warn",
        "text": "None of the 15 changes in spelling and form cost answers beyond chance (1 case; so few show large "
        "losses at most), and no hidden command was obeyed.",
    }
