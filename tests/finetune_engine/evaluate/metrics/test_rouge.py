import random

import pytest
from rouge_score.rouge_scorer import RougeScorer

from finetune_engine.evaluate.metrics.metric import Material
from finetune_engine.evaluate.metrics.rouge import KINDS, Rouge, UnicodeTokenizer, common_places, longest_common

REFERENCES = [
    "The tenants were paying their rents monthly; the landlord's agents collected them.",
    "Either party may end this agreement with thirty days written notice.\nNotices must be sent by registered mail.",
    "No.",
    "Payments are due within 30 days.\n\nLate payments bear interest.\nPartial payments are not accepted.",
]
ANSWERS = [
    "The tenant paid the rent monthly and the agent of the landlord was collecting it.",
    "Notice must be sent by registered mail.\nEither of the parties ends the agreement with notice of thirty days.",
    "Yes.",
    "Partial payment is not accepted. Payments are due in 30 days.",
]


def measured(answers, references):
    material = Material(answers, references)
    return {kind: Rouge(kind).measure(material).values for kind in KINDS}


def test_rouge_is_that_of_rouge_score_on_english():
    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    found = measured(ANSWERS, REFERENCES)
    for at, (answer, reference) in enumerate(zip(ANSWERS, REFERENCES, strict=True)):
        expected = scorer.score(reference, answer)
        for kind in KINDS:
            assert found[kind][at] == pytest.approx(expected[kind].fmeasure, abs=1e-12), (kind, at)


def test_rouge_is_that_of_rouge_score_on_real_contracts(shared_data):
    folder = shared_data / "legal" / "contracts_txt"
    texts = [
        path.read_text(errors="replace").encode("ascii", "ignore").decode()[:900]
        for path in sorted(folder.iterdir())[:10]
    ]
    draw = random.Random(3)
    answers = [" ".join(word for word in text.split(" ") if draw.random() > 0.3) for text in texts]
    scorer = RougeScorer(list(KINDS), use_stemmer=True)
    found = measured(answers, texts)
    for at, (answer, text) in enumerate(zip(answers, texts, strict=True)):
        expected = scorer.score(text, answer)
        for kind in KINDS:
            assert found[kind][at] == pytest.approx(expected[kind].fmeasure, abs=1e-12)
            assert 0.2 < found[kind][at] < 1


TEXTS = {
    "Thai": "ผู้เช่าต้องชำระค่าเช่าล่วงหน้าในวันแรกของทุกเดือน",
    "Chinese": "任何一方均可提前三十天书面通知终止本协议。",
    "Greek": "Η ενοικίαση πληρώνεται μηνιαίως",
    "Korean": "건물 임대료",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_identical_texts_score_one_in_any_script(text):
    for kind, values in measured([text], [text]).items():
        assert values[0] == pytest.approx(1.0), kind


def test_the_library_alone_gives_identical_thai_texts_nothing():
    # This is why a tokenizer is passed in; should the library learn Thai, ours can go.
    thai = "ผู้เช่าต้องชำระค่าเช่า"
    assert RougeScorer(["rouge1"], use_stemmer=True).score(thai, thai)["rouge1"].fmeasure == 0.0


def test_different_thai_texts_do_not_score_one():
    found = measured(["ผู้เช่าต้องชำระค่าเช่า"], ["สัญญานี้อยู่ภายใต้กฎหมาย"])
    assert found["rouge2"][0] < 0.5


def test_vowel_marks_stay_with_the_text():
    assert "".join(UnicodeTokenizer().tokenize("ที่นี่")) == "ที่นี่"


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_common_order_is_that_of_the_plain_table(seed):
    draw = random.Random(seed)
    first, second = ([draw.choice("abcd") for _ in range(draw.randrange(0, 70))] for _ in range(2))
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    assert longest_common(first, second) == table[-1][-1]


@pytest.mark.parametrize("seed", range(20))
def test_the_words_in_order_are_those_that_the_library_takes(seed):
    from rouge_score.rouge_scorer import lcs_ind

    draw = random.Random(seed)
    first, second = (draw.choices("abcd", k=draw.randint(0, 30)) for _ in range(2))
    assert common_places(first, second) == lcs_ind(first, second)


@pytest.mark.parametrize("seed", range(10))
def test_texts_of_several_lines_score_as_in_the_library(seed):
    draw = random.Random(seed)
    answer, reference = (
        "\n".join(" ".join(draw.choices(["rent", "tenant", "pays", "day"], k=draw.randint(0, 9))) for _ in range(6))
        for _ in range(2)
    )
    tokenizer = UnicodeTokenizer()
    expected = RougeScorer(["rougeLsum"], tokenizer=tokenizer).score(reference, answer)["rougeLsum"].fmeasure
    assert Rouge("rougeLsum").measure(Material([answer], [reference])).value == pytest.approx(expected, abs=1e-12)
