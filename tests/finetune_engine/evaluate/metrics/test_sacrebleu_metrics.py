"""The same predictions, once through the product and once through sacrebleu's command line."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest

from finetune_engine.evaluate.metrics.bleu import Bleu
from finetune_engine.evaluate.metrics.chrf import Chrf
from finetune_engine.evaluate.metrics.metric import Material
from finetune_engine.evaluate.metrics.ter import Ter

ENGLISH = [
    "The tenant pays the rent on the first day of every month, in advance.",
    "Either party may end this agreement with thirty days' written notice.",
    "This contract is governed by the laws of the State of New York.",
    "Payment is due net 30; late payments bear interest at 5 % per year.",
    "No.",
]
CHINESE = ["租户应在每月第一天预付租金。", "任何一方均可提前三十天书面通知终止本协议。", "本合同受纽约州法律管辖。"]
THAI = ["ผู้เช่าต้องชำระค่าเช่าล่วงหน้าในวันแรกของทุกเดือน", "สัญญานี้อยู่ภายใต้กฎหมายของรัฐนิวยอร์ก"]
JAPANESE = ["こんにちは、世界。お元気ですか。"]
KOREAN = ["안녕하세요 세계 여러분 반갑습니다"]
METRICS = {"bleu": Bleu, "chrf": Chrf, "ter": Ter}


def spoilt(texts, seed=1):
    """The texts with some words or letters gone, doubled or moved."""
    draw = random.Random(seed)
    changed = []
    for text in texts:
        parts = text.split(" ") if " " in text else list(text)
        kept = [part for part in parts if draw.random() > 0.2] + ([parts[0]] if draw.random() < 0.5 else [])
        changed.append((" " if " " in text else "").join(kept))
    return changed


def command_line(folder, answers, references, *options):
    """``{metric: (score, signature)}`` as ``sacrebleu`` prints them."""
    (folder / "references").write_text("\n".join(references) + "\n")
    (folder / "answers").write_text("\n".join(answers) + "\n")
    program = [sys.executable, "-m", "sacrebleu", str(folder / "references"), "-i", str(folder / "answers")]
    done = subprocess.run(
        [*program, "-m", "bleu", "chrf", "ter", "-w", "9", "-f", "json", "--force", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    return {found["name"].lower().removesuffix("2"): (found["score"], found) for found in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("references", "options"),
    [(ENGLISH, ()), (CHINESE, ("--tokenize", "zh", "--ter-normalized", "--ter-asian-support"))],
    ids=["English", "Chinese"],
)
def test_bleu_chrf_and_ter_are_those_of_the_command_line(tmp_path, references, options):
    answers = spoilt(references)
    expected = command_line(tmp_path, answers, references, *options)
    material = Material(answers, references)
    for name, metric in METRICS.items():
        found = metric().measure(material)
        score, line = expected[name]
        assert 0 < score < 100
        assert found.value == pytest.approx(score, abs=1e-8), name
        assert line["signature"] in found.signature, name


def test_bleu_chrf_and_ter_of_real_instructions_are_those_of_the_command_line(tmp_path, shared_data):
    rows = json.loads((shared_data / "sft" / "alpaca_en_demo.json").read_text())
    references = [" ".join(row["output"].split()) for row in rows[:60]]
    references = [text for text in references if len(text) < 400]
    answers = spoilt(references)
    expected = command_line(tmp_path, answers, references)
    for name, metric in METRICS.items():
        assert metric().measure(Material(answers, references)).value == pytest.approx(expected[name][0], abs=1e-8), name


def test_sums_of_drawn_cases_give_the_score_of_the_drawn_corpus():
    material = Material(spoilt(ENGLISH), ENGLISH)
    chosen = [0, 0, 3, 2, 3]
    drawn = Material([material.answers[at] for at in chosen], [ENGLISH[at] for at in chosen])
    for metric in (Bleu(), Chrf(), Ter()):
        found = metric.measure(material)
        sums = found.rows[chosen].sum(axis=0, keepdims=True)
        assert found.of_sums(sums)[0] == pytest.approx(metric.measure(drawn).value), metric.name


def test_a_short_right_answer_alone_is_not_zero():
    found = Bleu().measure(Material(["No."], ["No."]))
    assert found.values is not None
    assert found.values[0] == pytest.approx(100.0)


@pytest.mark.parametrize("references", [CHINESE, THAI, JAPANESE, KOREAN])
def test_identical_texts_without_spaces_score_full_marks(references):
    material = Material(references, references)
    assert Bleu().measure(material).value == pytest.approx(100.0)
    assert Chrf().measure(material).value == pytest.approx(100.0)
    assert Ter().measure(material).value == 0.0


@pytest.mark.parametrize("references", [CHINESE, THAI])
def test_one_letter_wrong_costs_little_where_there_are_no_spaces(references):
    answers = [text[:-1] + "x" for text in references]
    material = Material(answers, references)
    assert 80 < Bleu().measure(material).value < 100
    assert 0 < Ter().measure(material).value < 15


def test_ter_is_left_out_where_it_would_take_longer_than_the_model():
    long = "word " * 1_500
    assert Ter().suits(Material([long[:40]], [long]))
    assert not Ter().suits(Material([long], [long]))


def test_values_case_by_case_are_in_the_unit_of_the_metric():
    material = Material(spoilt(ENGLISH), ENGLISH)
    for metric in (Bleu(), Chrf(), Ter()):
        values = metric.measure(material).values
        assert values is not None
        assert values.shape == (len(ENGLISH),)
        assert np.isfinite(values).all()
        assert values.max() > 1
