"""Two evaluations answer by answer: on the cases that both were asked, which were won and which were lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from evaluation_app.models import Evaluation
from evaluation_app.queries.sample_file import kept_frame
from finetune_engine.evaluate.statistics.intervals import mcnemar_exact, paired_bootstrap, sign_flip_test
from finetune_engine.evaluate.worth.reading import subject_key

if TYPE_CHECKING:
    import polars as pl

SEED = 42
FEWEST_COMMON = 20  # fewer cases in common say nothing
SHOWN = 20
FLIPS = 2_000  # a page waits for it
_TEXT = ("prompt", "reference")


class Hindrance(StrEnum):
    """Why two evaluations cannot be held against each other case by case."""

    FIGURES = "figures"  # other figures decide
    ANSWERS = "answers"  # one kept no answers
    CASES = "cases"  # they were asked other cases
    FEW = "few"  # the same cases, but fewer than 20


@dataclass(frozen=True)
class Change:
    """A case that one got right and the other did not (or that fell or rose most). ``row`` is the second's."""

    row: int
    prompt: str
    reference: str
    before: str
    after: str

    @property
    def cursor(self) -> int:
        """Where a list of all cases has to begin so that this one comes first."""
        return self.row - 1


@dataclass(frozen=True)
class Pairing:
    """The second evaluation's subject against the first's, on the ``n`` cases both were asked. Figures are shares (0..1).

    ``is_same``: those are all the cases of both. ``better`` and ``worse`` count the cases that differ. ``test`` names
    where ``p_value`` comes from.
    """

    n: int
    is_same: bool
    is_binary: bool
    first: float
    second: float
    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    better: int
    worse: int
    lost: list[Change]
    won: list[Change]


def pairing(first: Evaluation, second: Evaluation) -> Pairing | Hindrance:
    """The paired comparison, or what is in its way: fewer than 20 cases in common, or one kept no answers.

    Cases are the same when they are the same row of the same frozen data, else when question and right answer are the
    same words. Where rows share a group, whole groups are resampled and swapped: McNemar's test does not hold for cases
    that depend on each other.
    """
    before, after = _scored(first), _scored(second)
    if before is None or after is None:
        return Hindrance.ANSWERS
    by_row = first.snapshot_id == second.snapshot_id and first.split == second.split
    joint = _joined(before, after, ["row"] if by_row else list(_TEXT))
    is_same = len(joint) == len(before) == len(after)
    if len(joint) < FEWEST_COMMON:
        return Hindrance.FEW if is_same else Hindrance.CASES
    return _pairing(joint, is_same)


def _scored(evaluation: Evaluation) -> pl.DataFrame | None:
    """``row, prompt, reference, answer, score`` (and ``group`` where there is one) of the subject's answers."""
    frame = kept_frame(evaluation)
    if frame is None:
        return None
    import polars as pl

    key = subject_key(evaluation.report)
    present = frame.collect_schema().names()
    score = next((name for name in (f"{key}_score", f"{key}_correct", f"{key}_f1") if name in present), None)
    if score is None or f"{key}_answer" not in present:
        return None
    wanted = [
        pl.col("row"),
        pl.col("prompt").fill_null(""),
        pl.col("reference").fill_null(""),
        pl.col(f"{key}_answer").fill_null("").alias("answer"),
        pl.col(score).cast(pl.Float64).alias("score"),
    ]
    if "group" in present:
        wanted.append(pl.col("group").cast(pl.Utf8))
    return frame.select(wanted).collect().drop_nulls("score")


def _joined(before: pl.DataFrame, after: pl.DataFrame, on: list[str]) -> pl.DataFrame:
    # The same question twice in the data is one case here: nobody can tell which answer belongs to which.
    first, second = (frame.unique(subset=on, keep="first", maintain_order=True) for frame in (before, after))
    columns = [*on, "answer", "score"]
    return second.join(first.select(columns), on=on, how="inner", suffix="_before").sort("row")


def _pairing(joint: pl.DataFrame, is_same: bool) -> Pairing:
    first, second = joint["score_before"].to_list(), joint["score"].to_list()
    is_binary = all(value in (0.0, 1.0) for value in [*first, *second])
    groups = _groups(joint)
    found = paired_bootstrap(first, second, seed=SEED, groups=groups)
    if is_binary and groups is None:
        test, p = "exact McNemar", mcnemar_exact([v == 1.0 for v in first], [v == 1.0 for v in second])
    else:
        gaps = [b - a for a, b in zip(first, second, strict=True)]
        p = sign_flip_test(gaps, seed=SEED, flips=FLIPS, groups=groups)
        test = "sign flips" if groups is None else f"sign flips over {len(set(groups))} groups"
    return Pairing(
        n=len(joint),
        is_same=is_same,
        is_binary=is_binary,
        first=_mean(first),
        second=_mean(second),
        difference=found.value,
        ci_low=found.interval.low,
        ci_high=found.interval.high,
        p_value=p,
        test=test,
        better=sum(b > a for a, b in zip(first, second, strict=True)),
        worse=sum(b < a for a, b in zip(first, second, strict=True)),
        lost=_changes(joint, is_descending=False),
        won=_changes(joint, is_descending=True),
    )


def _groups(joint: pl.DataFrame) -> list[str] | None:
    """The group of each case, one without a group standing alone; None where no two cases share one."""
    if "group" not in joint.columns:
        return None
    pairs = zip(joint["row"].to_list(), joint["group"].to_list(), strict=True)
    groups = [f"row {row}" if group is None else f"group {group}" for row, group in pairs]
    return groups if len(set(groups)) < len(groups) else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _changes(joint: pl.DataFrame, *, is_descending: bool) -> list[Change]:
    import polars as pl

    gap = pl.col("score") - pl.col("score_before")
    changed = joint.filter(gap > 0 if is_descending else gap < 0)
    chosen = changed.sort(gap, "row", descending=[is_descending, False]).head(SHOWN)
    return [
        Change(int(row["row"]), row["prompt"], row["reference"], row["answer_before"], row["answer"])
        for row in chosen.to_dicts()
    ]
