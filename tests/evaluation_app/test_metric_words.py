import pytest

from evaluation_app.choices import METRICS as WORDS
from finetune_engine.evaluate.metrics.chosen import METRICS


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_has_words_that_a_person_reads_and_the_unit_it_is_measured_in(name):
    assert name in WORDS
    assert WORDS[name].unit == METRICS[name].unit
    lower = "lower is better" in str(WORDS[name].plain)
    assert lower is not METRICS[name].higher_is_better
