import pytest

from finetune_engine.evaluate.statistics.percent import percent


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.75, "75 %"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.996, "99.6 %"),
        (0.9999, "99.99 %"),
        (0.0004, "0.04 %"),
        (-0.2, "-20 %"),
    ],
)
def test_what_is_not_quite_all_or_nothing_never_reads_so(share, shown):
    assert percent(share) == shown
