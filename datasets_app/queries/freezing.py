"""What a freeze would give, before it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accounts_app.models import Project
from datasets_app.choices import SPLIT_LABELS, SPLITS, PiiAction, SnapshotState
from datasets_app.models import Dataset, Snapshot
from datasets_app.queries.policy import KindDecision, kind_decisions
from datasets_app.queries.rows import visible
from finetune_engine.data.splitting import largest_remainder

LOOKED_AT = 200  # rows at the beginning, to see whether the file says which split they belong to


@dataclass(frozen=True)
class PreviewPart:
    """One split as it would be, give or take a few rows. ``count`` None: the file says which rows, so it is not known
    before."""

    name: str
    label: str
    count: int | None


@dataclass(frozen=True)
class FreezePreview:
    """What a freeze would give. ``tested_before`` are test rows of ``earlier`` (None: there is no earlier snapshot)
    that stay test rows; ``personal`` are the decisions on personal data found in these rows, and ``may_leave`` how
    many rows they may leave out at most."""

    usable: int
    parts: list[PreviewPart]
    has_uploaded_split: bool
    earlier: Snapshot | None
    tested_before: int
    personal: list[KindDecision]
    may_leave: int


def freeze_preview(project: Project, dataset: Dataset, shares: Mapping[str, float]) -> FreezePreview:
    """The counts for these shares (0..1 each). Four small queries."""
    uploaded = has_uploaded_split(dataset)
    earlier = (
        Snapshot.objects.filter(dataset=dataset, state=SnapshotState.READY)
        .only("number", "counts", "state")
        .order_by("-number")
        .first()
    )
    tested = min(int(earlier.counts.get("test", 0)), dataset.usable) if earlier is not None else 0
    personal = [one for one in kind_decisions(project, dataset) if one.rows]
    counts = {} if uploaded else _counts(dataset.usable, shares, tested)
    return FreezePreview(
        usable=dataset.usable,
        parts=[PreviewPart(name, str(SPLIT_LABELS[name]), counts.get(name)) for name in SPLITS],
        has_uploaded_split=uploaded,
        earlier=earlier,
        tested_before=tested,
        personal=personal,
        may_leave=min(dataset.usable, sum(one.rows for one in personal if one.action == PiiAction.REJECT)),
    )


def has_uploaded_split(dataset: Dataset) -> bool:
    """Whether the file says which rows are train, validation and test: by its mapping, or in its first rows."""
    if (dataset.mapping or {}).get("split"):
        return True
    return any(visible(dataset).order_by("row").values_list("split", flat=True)[:LOOKED_AT])


def _counts(usable: int, shares: Mapping[str, float], tested: int) -> dict[str, int]:
    """The engine's own rule: test rows of earlier snapshots stay, and the rest is dealt out by the other shares."""
    if not tested:
        return largest_remainder(usable, {name: shares.get(name, 0.0) for name in SPLITS})
    rest = {name: shares.get(name, 0.0) for name in SPLITS if name != "test"}
    total = sum(rest.values()) or 1.0
    dealt = largest_remainder(usable - tested, {name: share / total for name, share in rest.items()})
    return dealt | {"test": tested}
