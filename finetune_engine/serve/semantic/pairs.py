"""Pairs of questions by which the guards and the threshold are measured: written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

DEVELOPMENT, HELD_OUT, FRESH, ADVERSARIAL = "development", "held-out", "fresh", "adversarial"
BLIND, SEALED, KNOWING = "blind", "sealed", "knowing"
PARTS = (DEVELOPMENT, HELD_OUT, FRESH, ADVERSARIAL, BLIND, SEALED, KNOWING)
PARAPHRASE = "paraphrase"
KINDS = (PARAPHRASE, "reversed", "number", "name", "other")


@dataclass(frozen=True)
class Pair:
    """Two questions. ``kind`` is one of KINDS: only a paraphrase deserves the same answer. ``half`` is the part that
    the pair belongs to, one of PARTS, named by how it was used (docs/caches.md):

    ``development``: guards and threshold were chosen by it. ``held-out``: for reporting. ``fresh``: written when they
    were done. ``adversarial``: pairs of different meaning alone, made by another hand that had not seen the guards.
    ``blind``: likewise without sight of guards or pairs; measured, then used to mend the guards. ``sealed``: written
    together with ``blind``, put aside, measured when they were mended. ``knowing``: pairs of different meaning alone, aimed at
    the mended guards by one who knew them; measured, then used.

    ``domain`` is the field of work; in the last three parts, in what the two differ or how they are reworded.
    ``similarity`` is their cosine as all-MiniLM-L6-v2 has it, recorded once."""

    half: str
    kind: str
    domain: str
    similarity: float
    first: str
    second: str

    @property
    def is_same(self) -> bool:
        """Whether one answer fits both."""
        return self.kind == PARAPHRASE


def shipped_pairs(half: str | None = None) -> list[Pair]:
    """The pairs that come with the product, of one part or all, in a fixed order."""
    lines = (files("finetune_engine.serve.semantic") / "pairs.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    pairs = [Pair(half_, kind, domain, float(likeness), *two) for half_, kind, domain, likeness, *two in rows]
    return [pair for pair in pairs if half in (None, pair.half)]
