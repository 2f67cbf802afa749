"""Have the questions moved away from what the model was taught?

Texts become a *profile*: counts over fixed bins, which hold no text. A recent profile is compared with the *baseline*, the
profile of the training questions, by the population stability index (PSI) where each text falls into one bin (its length, its
signs, its language) and by the Jensen-Shannon divergence where it holds many words. Each figure has two limits and must pass
both: a floor under which a shift is of no consequence (PSI 0.2: "a significant change", Siddiqi 2006), and the noise of a
sample of this size, learnt from the training questions themselves: many samples are drawn from one half of them and compared
with the other half.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from finetune_engine.data.language import identify, language_name

FEWEST = 50
"""Questions under which nothing is compared."""
MOST_TEXTS = 2_000
SAMPLE_SIZES = (50, 100, 200, 400, 800, 1_600)
DRAWS = 60
DEVIATIONS = 3.5
FLOORS = {"length": 0.2, "characters": 0.2, "languages": 0.2, "vocabulary": 0.1, "unseen_words": 0.1}
LENGTH_EDGES = (8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 16_384)
SHARE_EDGES = (0.001, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
WORD_BUCKETS = 512
MOST_WORDS = 40_000
_READ_CHARACTERS = 4_000
_LANGUAGE_TEXTS = 500
_FEWEST_LANGUAGES = 30
_SMOOTHING = 0.5
_MARK = re.compile(r"\[[A-Z_]{2,20}_\d{1,6}\]")
_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")

Profile = dict[str, Any]
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class DriftFinding:
    """One comparison. ``value`` is over its ``limit`` when the questions have moved; both in the measure's own unit: PSI for
    length, characters and languages, Jensen-Shannon divergence in bits (0..1) for the vocabulary, a share of words for
    unseen words. ``sentence`` is for people."""

    name: str
    value: float
    limit: float
    is_over: bool
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def profile_of(texts: Sequence[str], baseline: Profile | None = None) -> Profile:
    """Counts of ``texts`` (at most ``MOST_TEXTS`` of them, spread evenly): ``{texts, length, digits, marks, foreign, languages,
    words}``. With ``baseline`` also the share of words that it has not seen, and ``unlike``: the positions in ``texts``
    of those that hold most of them, the strangest first."""
    places = _spread(len(texts), MOST_TEXTS)
    chosen = [texts[place][:_READ_CHARACTERS] for place in places]
    bins = _bins(chosen)
    words = [_words(text) for text in chosen]
    profile: Profile = {
        "texts": len(chosen),
        **{name: _counted(column, size) for name, column, size in bins},
        "mean_length": sum(map(len, chosen)) / max(1, len(chosen)),
        "languages": dict(_languages(chosen).most_common(20)),
        "words": [int(count) for count in _word_rows(words).sum(axis=0)],
    }
    if baseline is not None:
        shares = _unseen_shares(words, frozenset(baseline["vocabulary"]))
        profile["unseen_words"] = _mean(shares)
        strange = sorted((share, place) for share, place in zip(shares, places, strict=True) if share and share >= 0.5)
        profile["unlike"] = [place for _share, place in reversed(strange[-20:])]
    return profile


def baseline_of(texts: Sequence[str]) -> Profile:
    """The profile of the training questions, with their ``vocabulary`` (hashed), the share of words that a question not among
    the others brings along, and ``noise``: by measure and sample size, how far samples of the same source lie apart."""
    profile = profile_of(texts)
    chosen = [texts[place][:_READ_CHARACTERS] for place in _spread(len(texts), MOST_TEXTS)]
    words = [_words(text) for text in chosen]
    counts = Counter(word for found in words for word in found)
    others = frozenset(word for place, found in enumerate(words) if place % 5 for word in found)
    held = _unseen_shares(words[::5], others)
    known = [share for share in held if share is not None]
    profile["vocabulary"] = sorted(word for word, _count in counts.most_common(MOST_WORDS))
    profile["unseen_words"] = _mean(held)
    profile["unseen_deviation"] = float(np.std(known)) if known else 0.0
    profile["noise"] = _noise(chosen, words) if len(chosen) >= 2 * FEWEST else {}
    return profile


def compare(profile: Profile, baseline: Profile) -> list[DriftFinding]:
    """What has moved and what has not, one finding for each measure that can be taken; none below ``FEWEST`` texts."""
    size = int(profile["texts"])
    if size < FEWEST or int(baseline["texts"]) < FEWEST:
        return []
    noise = baseline.get("noise") or {}
    values = {
        "length": psi(profile["length"], baseline["length"]),
        "characters": max(psi(profile[name], baseline[name]) for name in ("digits", "marks", "foreign")),
        "vocabulary": divergence(profile["words"], baseline["words"]),
    }
    if (languages := _language_shift(profile, baseline)) is not None:
        values["languages"] = languages
    found = [_finding(name, value, _limit(noise, name, size), profile, baseline) for name, value in values.items()]
    return [*found, *_unseen(profile, baseline)]


def compare_confidence(
    recent: Sequence[int], expected: float, expected_n: int, middles: Sequence[float]
) -> DriftFinding:
    """The mean confidence of recent answers against the one of the evaluation. ``recent`` counts answers in bins with these
    ``middles`` (0..1); the limit is 0.05 or ``DEVIATIONS`` standard errors, whichever is more."""
    counts, at = np.asarray(recent, dtype=np.float64), np.asarray(middles, dtype=np.float64)
    total = max(1.0, counts.sum())
    mean = float((counts * at).sum() / total)
    spread = math.sqrt(max(0.01, float((counts * (at - mean) ** 2).sum() / total)))
    limit = max(0.05, DEVIATIONS * spread * math.sqrt(1 / total + 1 / max(1, expected_n)))
    value = expected - mean
    sentence = f"The model is {_percent(mean)} sure on average; when it was judged it was {_percent(expected)}."
    return DriftFinding("confidence", round(value, 4), round(limit, 4), value > limit, sentence)


def compare_acceptance(good: int, judged: int, expected: float, expected_n: int) -> DriftFinding:
    """The share of good verdicts against the share of right answers in the evaluation; the limit as above."""
    share = good / max(1, judged)
    both = (good + expected * expected_n) / max(1, judged + expected_n)
    error = math.sqrt(max(1e-4, both * (1 - both)) * (1 / max(1, judged) + 1 / max(1, expected_n)))
    limit = max(0.05, DEVIATIONS * error)
    value = expected - share
    sentence = (
        f"People called {_percent(share)} of {judged:,} judged answers good; when the model was judged {_percent(expected)} "
        "of its answers were right."
    )
    return DriftFinding("acceptance", round(value, 4), round(limit, 4), value > limit, sentence)


def psi(counts: Sequence[float], others: Sequence[float]) -> float:
    """Population stability index of two histograms over the same bins: sum of (p - q) ln(p / q). 0 for equal ones. Half a
    text is added to every bin, so that an empty one does not make it infinite; bins empty in both are left out."""
    return float(_psi_rows(np.asarray([counts], dtype=np.float64), np.asarray(others, dtype=np.float64))[0])


def divergence(counts: Sequence[float], others: Sequence[float]) -> float:
    """Jensen-Shannon divergence in bits, 0 (equal) to 1 (nothing in common)."""
    return float(_divergence_rows(np.asarray([counts], dtype=np.float64), np.asarray(others, dtype=np.float64))[0])


def _psi_rows(rows: Array, others: Array) -> Array:
    used = (rows.sum(axis=0) + others) > 0
    p, q = rows[:, used] + _SMOOTHING, others[used] + _SMOOTHING
    if p.shape[1] == 0:
        return np.zeros(len(rows))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum()
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=1))


def _divergence_rows(rows: Array, others: Array) -> Array:
    p = rows / np.maximum(1e-12, rows.sum(axis=1, keepdims=True))
    q = others / max(1e-12, others.sum())
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log2(p / middle), 0.0)
        right = np.where(q > 0, q * np.log2(q / middle), 0.0)
    return np.asarray((left.sum(axis=1) + right.sum(axis=1)) / 2)


def _spread(count: int, most: int) -> list[int]:
    return list(range(count)) if count <= most else [number * count // most for number in range(most)]


def _bins(texts: Sequence[str]) -> list[tuple[str, list[int], int]]:
    """``(name, bin of each text, how many bins)``: length, and the shares of digits, marks and letters outside a-z."""
    lengths = np.searchsorted(LENGTH_EDGES, [len(text) for text in texts], side="right")
    shares: dict[str, list[float]] = {"digits": [], "marks": [], "foreign": []}
    for text in texts:
        size = max(1, len(text))
        digits = sum(sign.isdigit() for sign in text)
        letters = sum(sign.isalpha() for sign in text)
        blanks = sum(sign.isspace() for sign in text)
        foreign = 0 if text.isascii() else sum(sign.isalpha() and not sign.isascii() for sign in text)
        shares["digits"].append(digits / size)
        shares["marks"].append((size - digits - letters - blanks) / size)
        shares["foreign"].append(foreign / size)
    found = [("length", [int(number) for number in lengths], len(LENGTH_EDGES) + 1)]
    for name, column in shares.items():
        places = np.searchsorted(SHARE_EDGES, column, side="right")
        found.append((name, [int(number) for number in places], len(SHARE_EDGES) + 1))
    return found


def _counted(column: Sequence[int], size: int) -> list[int]:
    return [int(count) for count in np.bincount(np.asarray(column, dtype=np.int64), minlength=size)]


def _languages(texts: Sequence[str]) -> Counter[str]:
    """Of some of the texts; those too short to tell are left out."""
    codes = (identify(texts[place]) for place in _spread(len(texts), _LANGUAGE_TEXTS))
    return Counter(code for code in codes if code is not None)


def _words(text: str) -> frozenset[int]:
    """Hashes of the different words; pairs of signs where a script has no blanks. Marks of masked data are no words."""
    found: set[str] = set()
    for word in _WORD.findall(_MARK.sub(" ", text).casefold()):
        if _UNSPACED.search(word):
            found.update(word[place : place + 2] for place in range(max(1, len(word) - 1)))
        else:
            found.add(word)
    return frozenset(zlib.crc32(word.encode("utf-8", "replace")) for word in found)


def _word_rows(words: Sequence[frozenset[int]]) -> Array:
    rows = np.zeros((len(words), WORD_BUCKETS))
    for number, found in enumerate(words):
        for word in found:
            rows[number, word % WORD_BUCKETS] += 1
    return rows


def _unseen_shares(words: Sequence[frozenset[int]], vocabulary: frozenset[int]) -> list[float | None]:
    return [len(found - vocabulary) / len(found) if len(found) > 2 else None for found in words]


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None


def _noise(texts: Sequence[str], words: Sequence[frozenset[int]]) -> dict[str, list[float]]:
    """By measure, for each of ``SAMPLE_SIZES``: the mean of the figure over samples of the same source, and ``DEVIATIONS``
    standard deviations."""
    random = np.random.default_rng(20_240_517)
    order = random.permutation(len(texts))
    half = len(texts) // 2
    hot = {name: np.eye(size)[column] for name, column, size in _bins(texts)}
    hot["vocabulary"] = _word_rows(words)
    found: dict[str, list[float]] = {"length": [], "characters": [], "vocabulary": [], "languages": []}
    codes = [code for text in texts[:_LANGUAGE_TEXTS] if (code := identify(text)) is not None]
    for size in SAMPLE_SIZES:
        drawn = random.multinomial(size, np.full(half, 1 / half), size=DRAWS).astype(np.float64)
        told = {name: (drawn @ rows[order[:half]], rows[order[half:]].sum(axis=0)) for name, rows in hot.items()}
        found["length"].append(_upper(_psi_rows(*told["length"])))
        signs = [_psi_rows(*told[name]) for name in ("digits", "marks", "foreign")]
        found["characters"].append(_upper(np.max(signs, axis=0)))
        found["vocabulary"].append(_upper(_divergence_rows(*told["vocabulary"])))
        found["languages"].append(_language_noise(codes, min(size, _LANGUAGE_TEXTS), random))
    return found


def _language_noise(codes: Sequence[str], size: int, random: np.random.Generator) -> float:
    if len(codes) < _FEWEST_LANGUAGES:
        return 0.0
    counts = np.asarray(list(Counter(codes).values()), dtype=np.float64)
    drawn = random.multinomial(size, counts / counts.sum(), size=DRAWS).astype(np.float64)
    return _upper(_psi_rows(drawn, counts))


def _upper(figures: Array) -> float:
    return round(float(figures.mean() + DEVIATIONS * figures.std()), 5)


def _limit(noise: Mapping[str, Sequence[float]], name: str, size: int) -> float:
    """The floor, or the noise of the nearest smaller sample size where that is more."""
    known = noise.get(name)
    if not known:
        return FLOORS[name]
    place = max(0, int(np.searchsorted(SAMPLE_SIZES, size, side="right")) - 1)
    return max(FLOORS[name], float(known[place]))


def _language_shift(profile: Profile, baseline: Profile) -> float | None:
    mine, theirs = profile["languages"], baseline["languages"]
    if min(sum(mine.values()), sum(theirs.values())) < _FEWEST_LANGUAGES:
        return None
    codes = sorted({*mine, *theirs})
    return psi([mine.get(code, 0) for code in codes], [theirs.get(code, 0) for code in codes])


def _unseen(profile: Profile, baseline: Profile) -> list[DriftFinding]:
    now, before = profile.get("unseen_words"), baseline.get("unseen_words")
    if now is None or before is None:
        return []
    error = float(baseline["unseen_deviation"]) * math.sqrt(1 / profile["texts"] + 5 / baseline["texts"])
    limit = max(FLOORS["unseen_words"], DEVIATIONS * error)
    value = now - before
    sentence = (
        f"{_percent(now)} of the words of a question do not occur in the training data; among the training questions "
        f"themselves it is {_percent(before)}."
    )
    return [DriftFinding("unseen_words", round(value, 4), round(limit, 4), value > limit, sentence)]


def _finding(name: str, value: float, limit: float, profile: Profile, baseline: Profile) -> DriftFinding:
    sentence = {"length": _length_words, "characters": _sign_words, "languages": _language_words}.get(name, _word_words)
    return DriftFinding(
        name, round(value, 4), round(limit, 4), value > limit, sentence(profile, baseline, value > limit)
    )


def _length_words(profile: Profile, baseline: Profile, is_over: bool) -> str:
    return (
        f"A question has {profile['mean_length']:,.0f} characters on average; in the training data it is "
        f"{baseline['mean_length']:,.0f}."
    )


def _sign_words(profile: Profile, baseline: Profile, is_over: bool) -> str:
    if not is_over:
        return "Digits, marks and letters are as frequent as in the training data."
    names = {"digits": "digits", "marks": "punctuation and other marks", "foreign": "letters outside a to z"}
    name = max(names, key=lambda one: psi(profile[one], baseline[one]))
    return f"The questions hold {names[name]} in another measure than the training data."


def _language_words(profile: Profile, baseline: Profile, is_over: bool) -> str:
    mine, theirs = _shares(profile["languages"]), _shares(baseline["languages"])
    code = max({*mine, *theirs}, key=lambda one: mine.get(one, 0) - theirs.get(one, 0))  # what has come in
    if not is_over:
        code = max(theirs, key=lambda one: theirs[one])
    return (
        f"{_percent(mine.get(code, 0))} of the questions are in {language_name(code)}; in the training data it is "
        f"{_percent(theirs.get(code, 0))}."
    )


def _word_words(profile: Profile, baseline: Profile, is_over: bool) -> str:
    if is_over:
        return "The questions use other words than the training data, or the same ones in another measure."
    return "The words of the questions are about those of the training data."


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.items()}


def _percent(share: float) -> str:
    return f"{share * 100:.0f}%"
