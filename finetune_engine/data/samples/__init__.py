"""Sample projects that come with the product, so that a first visit can end in a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A data set that a newcomer can try. `path` is a file in one of the formats that an upload accepts."""

    key: str
    title: str
    description: str
    path: Path
    task_type: str


SAMPLES: dict[str, Sample] = {
    "contract_clauses": Sample(
        key="contract_clauses",
        title="Contract clauses",
        description=(
            "About 2,750 invented contract clauses, each with its type (ten types, such as Governing Law or Insurance). "
            "Some rows are flawed on purpose, so that the checks have something to find."
        ),
        path=_FOLDER / "contract_clauses.jsonl",
        task_type="classification",
    ),
}
