"""Write the contract-clause sample: `python -m finetune_engine.data.samples.contract_clauses --out FILE`.

Clauses come from the sentence skeletons in `contract_clauses_grammar.txt`. Three things keep the task honest:

* a clause often mentions the subjects of *other* types in passing, so that spotting one word is not enough;
* no two clean clauses share 60 % of their runs of five words, so that a test clause is never a training clause in
  disguise, whichever way the rows are split;
* some rows are flawed on purpose (`Row.flaw` says how), because real files are, and the checks should show it.

The same seed always gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SEED = 20240607
GRAMMAR = Path(__file__).with_name("contract_clauses_grammar.txt")
MAX_OVERLAP = 0.6
"""Two clean clauses at or above this Jaccard overlap of word 5-grams are one too many (duplicates count from 0.7)."""

CLEAN_ROWS = {
    "Payment Terms": 330,
    "Confidentiality": 310,
    "Limitation of Liability": 290,
    "Indemnification": 280,
    "Termination for Convenience": 270,
    "Intellectual Property": 270,
    "Governing Law": 260,
    "Assignment": 240,
    "Insurance": 230,
    "Force Majeure": 220,
}
"""How many clean rows each type has. Uneven on purpose, as in a real file."""

PARTIES = [
    ("the Supplier", "the Customer"),
    ("the Provider", "the Client"),
    ("the Contractor", "the Owner"),
    ("the Licensor", "the Licensee"),
    ("the Vendor", "the Purchaser"),
    ("the Consultant", "the Company"),
    ("the Agency", "the Advertiser"),
    ("the Manufacturer", "the Distributor"),
    ("the Institute", "the Sponsor"),
    ("the Service Provider", "the Subscriber"),
    ("Tarnvossel Ltd", "Ossiwickle Foods"),
    ("Brenlarchen GmbH", "the Buyer"),
    ("the Developer", "Quellomarch Corporation"),
    ("Havrindole Partners", "Skarrowmint plc"),
    ("Pellomarque SA", "the Retailer"),
    ("the Carrier", "Drovantoss Trading"),
]

FLAWS = {
    "duplicate_exact": 12,
    "duplicate_near": 10,
    "contradiction": 4,
    "empty_answer": 4,
    "empty_input": 3,
    "label_variants": 10,
    "pii": 6,
    "message_missing_key": 3,
}
"""How many rows are flawed in which way; the names are those that the data checks use."""

SPARE = 3
"""Clauses of each type that are kept aside for flawed rows."""

MIN_WORDS, MAX_WORDS = 14, 75

SPELLINGS: list[Callable[[str], str]] = [
    str.lower,
    str.upper,
    lambda label: label.replace(" ", "  ") + " ",
    lambda label: f" {label}",
]
"""Ways in which hurried people write the same label."""

CONTACTS = [
    "Questions go to legal@example.com.",
    "Notices shall be sent to contracts.desk@example.org or by telephone to +1 202-555-0143.",
    "Contact for this Section: Mara Tolliver, mara.tolliver@example.com.",
    "The hotline is (212) 555-0178.",
    "Please copy accounts+invoices@example.net on every letter.",
    "Reach the duty manager at +44 20 7946 0321.",
]

PLACES = [
    ("England and Wales", "London"), ("Scotland", "Edinburgh"), ("Ireland", "Dublin"), ("the State of New York", "Albany"),
    ("the State of Delaware", "Wilmington"), ("California", "San Francisco"), ("Ontario", "Toronto"),
    ("Quebec", "Montreal"), ("New South Wales", "Sydney"), ("Singapore", "Singapore"), ("Germany", "Hamburg"),
    ("the Netherlands", "Rotterdam"), ("Denmark", "Copenhagen"), ("Finland", "Helsinki"), ("Portugal", "Lisbon"),
    ("Switzerland", "Zurich"), ("Japan", "Osaka"), ("Kenya", "Nairobi"), ("New Zealand", "Wellington"),
    ("Brazil", "Curitiba"),
]  # fmt: skip

SLOTS: dict[str, list[str]] = {
    "agr": ["this Agreement"] * 4 + ["this Contract", "this Master Agreement", "this Order", "this Deed", "the Agreement"],
    "cur": ["euros", "US dollars", "pounds sterling", "Swiss francs", "Canadian dollars", "the currency of the invoice"],
    "days": [
        "7 days", "ten days", "14 days", "fifteen business days", "20 days", "thirty (30) days", "30 days",
        "45 calendar days", "sixty days", "60 days", "ninety (90) days", "90 days", "two weeks", "three months",
    ],
    "months": ["three months", "six months", "6 months", "nine months", "twelve months", "12 months", "eighteen months"],
    "years": ["one year", "two years", "3 years", "three (3) years", "five years", "seven years", "ten years"],
    "pct": ["1.5 %", "2 %", "4 %", "five per cent", "8%", "10%", "fifteen percent", "20 %", "50 %", "100 %", "110 %"],
    "money": [
        "EUR 5,000", "USD 25,000", "EUR 40,000", "GBP 75,000", "USD 100,000", "EUR 250,000", "CHF 500,000",
        "one million dollars", "USD 1,000,000", "two million euros", "GBP 5 million", "EUR 10 million", "$750", "$12,500",
    ],
    "fee": ["EUR 15", "USD 20", "GBP 25", "thirty euros", "forty dollars"],
    "sec": [
        "Section 4", "Section 7.2", "Section 11", "clause 3", "clause 9.1", "clause 14", "Article V", "Article 12",
        "Article XIX", "paragraph 6", "paragraph 21", "Schedule 2", "Annex C", "Section 16(b)",
    ],
}  # fmt: skip

Grammar = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Row:
    """One line of the file. `flaw` names what is wrong with it on purpose (None: nothing) and is not written."""

    fields: dict[str, str]
    flaw: str | None = None


def read_grammar(path: Path = GRAMMAR) -> Grammar:
    """Return {type: {part: skeletons}} from the grammar file."""
    grammar: Grammar = {}
    part: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            kind, name = line.removeprefix("== ").split(" / ")
            part = grammar.setdefault(kind, {}).setdefault(name, [])
        elif line.strip() and not line.startswith("#"):
            part.append(line)
    return grammar


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The set of runs of five lower-cased words in `text`; the whole text where it is shorter than that."""
    words = re.findall(r"\w+", text.lower())
    return frozenset(tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4)))


def overlap(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Jaccard similarity of two shingle sets: 0 for nothing in common, 1 for the same set."""
    return len(one & other) / len(one | other)


class ClauseWriter:
    """Writes clauses of a wanted type. Its only state is the random generator."""

    def __init__(self, grammar: Grammar, rng: random.Random) -> None:
        self._grammar = grammar
        self._rng = rng
        self._types = [kind for kind in grammar if kind != "Carriers"]

    def clause(self, kind: str, skeleton: str) -> str:
        """One clause around the given core `skeleton` of type `kind`: one to three sentences."""
        slots: dict[str, list[str]] = {**SLOTS}
        first, second = self._rng.choice(PARTIES)
        law, city = self._rng.choice(PLACES)
        slots |= {"A": [first], "B": [second], "law": [law], "city": [city]}
        core = self._fill(skeleton, slots)
        sentences = [core]
        if self._rng.random() < 0.35 and len(core.split(". ")[0].split()) > 3:
            sentences = [self._aside("before", kind, slots).replace("<core>", _lower_first(core))]
        if self._rng.random() < 0.35:
            sentences.append(self._fill(self._rng.choice(self._grammar[kind]["more"]), slots))
        if self._rng.random() < 0.5:
            sentences.append(self._aside("after", kind, slots))
        return " ".join(_upper_first(_tidy(sentence)) for sentence in sentences)

    def _aside(self, position: str, kind: str, slots: dict[str, list[str]]) -> str:
        """A passing reference to the subjects of types other than `kind`."""
        carrier = self._rng.choice(self._grammar["Carriers"][position])
        others = self._rng.sample([other for other in self._types if other != kind], 3)
        for other in others:
            carrier = carrier.replace("{m}", self._rng.choice(self._grammar[other]["mention"]), 1)
        return self._fill(carrier, slots)

    def _fill(self, skeleton: str, slots: dict[str, list[str]]) -> str:
        """Choose one of each set of alternatives, innermost first, then put a value in each slot."""
        text = skeleton
        while (found := re.search(r"\[([^\[\]]*)\]", text)) is not None:
            text = text[: found.start()] + self._rng.choice(found[1].split("|")) + text[found.end() :]
        return re.sub(r"\{(\w+)\}", lambda slot: self._rng.choice(slots[slot[1]]), text)


class SeenText:
    """Remembers texts, and says whether another one overlaps too much with any of them."""

    def __init__(self, max_overlap: float = MAX_OVERLAP) -> None:
        self._max_overlap = max_overlap
        self._sets: list[frozenset[tuple[str, ...]]] = []
        self._where: dict[tuple[str, ...], list[int]] = {}

    def highest_overlap(self, text: str) -> float:
        """The highest overlap of `text` with a text added earlier; 0 if none has a run of five words in common."""
        mine = shingles(text)
        rivals = {index for shingle in mine for index in self._where.get(shingle, [])}
        return max((overlap(mine, self._sets[index]) for index in rivals), default=0.0)

    def add_if_new(self, text: str) -> bool:
        """Remember `text` and return True, unless it overlaps too much."""
        if self.highest_overlap(text) >= self._max_overlap:
            return False
        for shingle in shingles(text):
            self._where.setdefault(shingle, []).append(len(self._sets))
        self._sets.append(shingles(text))
        return True


def distinct_clauses(grammar: Grammar, rng: random.Random) -> dict[str, list[str]]:
    """For each type, the clauses of its clean rows and `SPARE` more, no two of them alike.

    Raises RuntimeError if the grammar is too poor for that many.
    """
    writer = ClauseWriter(grammar, rng)
    seen = SeenText()
    clauses: dict[str, list[str]] = {}
    for kind, count in CLEAN_ROWS.items():
        skeletons = _round_robin(grammar[kind]["core"], rng)
        texts = clauses.setdefault(kind, [])
        tries = 0
        while len(texts) < count + SPARE:
            tries += 1
            if tries > 100 * count:
                raise RuntimeError(f"the grammar gives only {len(texts)} different clauses of type {kind}")
            text = writer.clause(kind, next(skeletons))
            if MIN_WORDS <= len(text.split()) <= MAX_WORDS and seen.add_if_new(text):
                texts.append(text)
    return clauses


def flawed_rows(clean: Sequence[Row], spare: Sequence[Row], rng: random.Random) -> list[Row]:
    """The rows that are wrong on purpose; `FLAWS` says how many of each kind.

    Copies are made from `clean` rows, all others from `spare` ones, and no row serves twice.
    """
    originals = iter(rng.sample([row.fields for row in clean], len(clean)))
    unused = iter(rng.sample([row.fields for row in spare], len(spare)))
    kinds = list(CLEAN_ROWS)
    rows: list[Row] = []
    for flaw, count in FLAWS.items():
        for number in range(count):
            if flaw == "duplicate_exact":
                fields = dict(next(originals))
            elif flaw == "duplicate_near":
                fields = next(fields for fields in originals if len(fields["text"].split()) > 30)
                fields = {**fields, "text": _near_copy(fields["text"], rng)}
            elif flaw == "contradiction":
                fields = next(originals)
                fields = {**fields, "label": rng.choice([kind for kind in kinds if kind != fields["label"]])}
            elif flaw == "empty_answer":
                fields = {**next(unused), "label": ["", "  "][number % 2]}
            elif flaw == "empty_input":
                fields = {"text": ["", "   "][number % 2], "label": kinds[number]}
            elif flaw == "label_variants":
                fields = next(unused)
                fields = {**fields, "label": SPELLINGS[number % len(SPELLINGS)](fields["label"])}
            elif flaw == "pii":
                fields = next(unused)
                fields = {**fields, "text": f"{fields['text']} {CONTACTS[number]}"}
            else:
                fields = {"text": next(unused)["text"]}
            rows.append(Row(fields, flaw))
    return rows


def sample_rows(seed: int = SEED) -> list[Row]:
    """All rows of the sample, clean and flawed, in the order of the file."""
    rng = random.Random(seed)
    clauses = distinct_clauses(read_grammar(), rng)
    clean = [Row({"text": text, "label": kind}) for kind, texts in clauses.items() for text in texts[:-SPARE]]
    spare = [Row({"text": text, "label": kind}) for kind, texts in clauses.items() for text in texts[-SPARE:]]
    rows = clean + flawed_rows(clean, spare, rng)
    rng.shuffle(rows)
    return rows


def jsonl(rows: Iterable[Row]) -> str:
    """The rows as the text of a JSONL file."""
    return "".join(json.dumps(row.fields, ensure_ascii=False) + "\n" for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the sample to the file named on the command line (by default, over the one that is shipped)."""
    parser = argparse.ArgumentParser(description="Write the contract-clause sample.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("contract_clauses.jsonl"))
    options = parser.parse_args(arguments)
    options.out.write_text(jsonl(sample_rows()), encoding="utf-8", newline="\n")


def _round_robin(skeletons: Sequence[str], rng: random.Random) -> Iterator[str]:
    """Every skeleton once in random order, then again in another order, without end."""
    while True:
        yield from rng.sample(skeletons, len(skeletons))


def _near_copy(text: str, rng: random.Random) -> str:
    """`text` with the small edit that a second typist would make: some words more at one end, or a slip."""
    words = text.split()
    edit = rng.randrange(3)
    if edit == 0:
        words[-1] = words[-1].rstrip(".") + ", as agreed."
    elif edit == 1:
        words[0] = "Further, " + words[0].lower()
    else:
        words[1] += words[1][-1]
    return " ".join(words)


def _tidy(sentence: str) -> str:
    """Single spaces, and none before a comma or a full stop."""
    return re.sub(r"\s+([,.;:])", r"\1", re.sub(r"\s+", " ", sentence)).strip()


def _upper_first(sentence: str) -> str:
    """Start each sentence in `sentence` with a capital letter."""
    return re.sub(r"(^|[.!?] )([a-z])", lambda found: found[1] + found[2].upper(), sentence)


def _lower_first(sentence: str) -> str:
    """Make the first letter small, unless the sentence starts with a name or a defined term."""
    words = sentence.split()
    if len(words) > 1 and (words[1][0].isupper() and words[0] not in ("The", "A", "Any", "Each", "No", "If", "Where")):
        return sentence
    return sentence[0].lower() + sentence[1:]


if __name__ == "__main__":
    main()
