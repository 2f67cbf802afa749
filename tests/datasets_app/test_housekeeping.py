"""One dataset that cannot be tidied does not keep the others from it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from datasets_app.models import Dataset
from datasets_app.operations import housekeeping


def test_a_storage_that_fails_for_one_dataset_does_not_stop_the_next(bare_dataset, monkeypatch):
    other = Dataset.objects.create(project=bare_dataset.project, name="Other", upload=bare_dataset.upload)
    past = timezone.now() - timedelta(minutes=5)
    Dataset.objects.filter(pk=bare_dataset.pk).update(tidy_after=past)
    Dataset.objects.filter(pk=other.pk).update(tidy_after=past + timedelta(minutes=1))
    real = housekeeping.tidy_dataset

    def broken(*, dataset: Dataset) -> bool:
        if dataset.pk == bare_dataset.pk:
            raise RuntimeError("the storage does not answer")
        return real(dataset=dataset)

    monkeypatch.setattr(housekeeping, "tidy_dataset", broken)
    assert housekeeping.tidy_data() == 1
    bare_dataset.refresh_from_db()
    other.refresh_from_db()
    assert other.tidy_after is None
    assert bare_dataset.tidy_after > timezone.now()
