import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_recall_fscore_support

from finetune_engine.evaluate.metrics.class_agreement import MacroF1, Matthews, macro_f1_of_sums, mcc_of_sums
from finetune_engine.evaluate.metrics.labels import UNPARSABLE, Classified, LabelReader
from finetune_engine.evaluate.metrics.metric import Material


def test_an_answer_is_a_label_when_it_is_the_same_but_for_form():
    reader = LabelReader(["Audit Rights", "Anti-Assignment", "NDA", "nda"])
    assert reader.read("Audit Rights") == "Audit Rights"
    assert reader.read("  audit rights.") == "Audit Rights"
    assert reader.read("anti assignment") == "Anti-Assignment"
    assert reader.read("nda") == "nda"
    assert reader.read("Nda") == UNPARSABLE  # two labels look like this
    assert reader.read("I think it is Audit Rights") == UNPARSABLE
    assert reader.read("") == UNPARSABLE


REFERENCES = ["a", "a", "a", "b", "b", "c"]
PREDICTIONS = ["a", "a", "b", "b", UNPARSABLE, "a"]


def test_unparsable_answers_are_a_class_of_their_own():
    confusion = Classified.of(REFERENCES, PREDICTIONS).confusion()
    assert set(confusion.labels) == {"a", "b", "c", UNPARSABLE}
    assert confusion.labels[-1] == UNPARSABLE
    assert confusion.matrix == [[2, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.fixture(params=[1, 2, 3])
def many(request):
    generator = np.random.default_rng(request.param)
    classes = [f"class {number}" for number in range(7)]
    references = [str(label) for label in generator.choice(classes, 300, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02])]
    said = [label if generator.random() < 0.7 else str(generator.choice([*classes, "?"])) for label in references]
    return Material(said, references, references, classes)


def test_macro_f1_and_mcc_are_those_of_scikit_learn_on_the_texts(many):
    said = many.predictions
    macro = f1_score(many.labels, said, average="macro", zero_division=0)
    assert UNPARSABLE in said
    assert MacroF1().measure(many).value == pytest.approx(macro, abs=1e-12)
    assert Matthews().measure(many).value == pytest.approx(matthews_corrcoef(many.labels, said), abs=1e-12)


def test_resampled_sums_give_what_scikit_learn_makes_of_the_drawn_cases(many):
    rows = MacroF1().measure(many).rows
    chosen = np.random.default_rng(9).integers(0, len(rows), len(rows))
    sums = rows[chosen].sum(axis=0, keepdims=True)
    labels, said = np.asarray(many.labels)[chosen], np.asarray(many.predictions)[chosen]
    assert macro_f1_of_sums(sums)[0] == pytest.approx(f1_score(labels, said, average="macro", zero_division=0))
    assert mcc_of_sums(sums)[0] == pytest.approx(matthews_corrcoef(labels, said))


def test_scores_by_class_are_those_of_scikit_learn(many):
    said = many.predictions
    names = sorted(set(many.labels))
    columns = precision_recall_fscore_support(many.labels, said, labels=names, zero_division=0.0)
    found = Classified.of(many.labels, said).per_class()
    assert [score.label for score in found] == names
    for score, precision, recall, f1, support in zip(found, *columns, strict=True):
        assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1))
        assert score.support == support


def test_the_share_of_hits_is_the_accuracy_of_scikit_learn(many):
    classes = Classified.of(many.labels, many.predictions)
    assert classes.correct.mean() == pytest.approx(accuracy_score(many.labels, many.predictions))


def test_one_class_only_gives_a_coefficient_of_zero():
    assert mcc_of_sums(Classified.of(["a", "a"], ["a", "a"]).rows().sum(axis=0, keepdims=True))[0] == 0.0


def test_a_label_that_is_an_article_is_read_as_any_other():
    assert [LabelReader(["A", "B"]).read(said) for said in ("A.", "a", "B.", "b")] == ["A", "A", "B", "B"]
