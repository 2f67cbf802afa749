"""How sure a model was of each answer of an evaluation."""

from __future__ import annotations

import io

import pytest

from evaluation_app.queries.judged_confidence import judged_answers
from finetune_engine.errors import UserError

pytestmark = pytest.mark.django_db


def kept(evaluation, **columns):
    """The evaluation with these columns in its file, in an order that is not that of the rows."""
    import polars as pl
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    file = io.BytesIO()
    pl.DataFrame({"row": [3, 1, 2], **columns}).write_parquet(file)
    name = default_storage.save(f"evaluations/{evaluation.pk}/1/samples.parquet", ContentFile(file.getvalue()))
    type(evaluation).objects.filter(pk=evaluation.pk).update(samples_name=name)
    evaluation.refresh_from_db()
    return evaluation


def test_the_subjects_answers_are_read_in_the_order_of_the_rows(done):
    found = judged_answers(
        kept(
            done,
            tuned_confidence=[0.3, None, 0.2],
            tuned_correct=[True, False, True],
            base_confidence=[0.9] * 3,
            base_correct=[False] * 3,
        )
    )
    assert found.confidences == [None, 0.2, 0.3]
    assert found.right == [False, True, True]
    assert found.groups is None


def test_a_row_without_a_group_stands_alone(done):
    found = judged_answers(
        kept(done, tuned_confidence=[0.3] * 3, tuned_correct=[True] * 3, group=["contract", None, "contract"])
    )
    assert found.groups == [1, "contract", "contract"]


def test_answers_that_nobody_judged_are_left_out(done):
    found = judged_answers(kept(done, tuned_confidence=[0.3, 0.4, 0.5], tuned_correct=[True, None, False]))
    assert found.confidences == [0.5, 0.3]


def test_a_file_without_confidences_says_to_run_it_again(done):
    with pytest.raises(UserError, match="Run it again"):
        judged_answers(kept(done, tuned_correct=[True] * 3))


def test_an_evaluation_without_answers_says_so(done):
    with pytest.raises(UserError) as caught:
        judged_answers(done)
    assert caught.value.code == "no_answers"
