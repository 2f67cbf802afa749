"""What the guards read off a question: its names, persons, negations, the sort of answer it wants, the order of its
words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from finetune_engine.serve.semantic import lexicon
from finetune_engine.serve.semantic.numbers import is_numeric
from finetune_engine.serve.semantic.words import stem, tidy, words

_TITLES = re.compile(r"\b(Mr|Mrs|Ms|Dr|Prof|St|No|Art|Sec)\.")
"""A full stop behind one of these ends no sentence."""


@lru_cache(maxsize=4096)
def names(text: str) -> frozenset[str]:
    """Capitalised words inside a sentence, acronyms, what stands in quotation marks, addresses: in lower case."""
    text = tidy(text)
    found = {quoted.lower().strip() for quoted in re.findall(r"[\"“„«]([^\"”“»]+)[\"”“»]", text)}
    starts = True
    for piece in re.findall(r"[\w.+-]+@[\w.-]+\w|[^\W_][\w'&-]*|[.?!:;]", _TITLES.sub(r"\1", text)):
        if piece in ".?!:;":
            starts = True
            continue
        is_shouted = len(piece) > 1 and piece.isupper()
        if "@" in piece or is_shouted or (piece[0].isupper() and not starts and not _is_self(piece)):
            found.add(re.sub(r"'s$", "", piece).lower())
        starts = False
    return frozenset(found)


def _is_self(token: str) -> bool:
    return token.split("'")[0] == "I"


def spoken(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w.+-]+@[\w.-]+\w|[^\W_][\w&-]*", tidy(text).lower().replace("'s", "")))


@lru_cache(maxsize=4096)
def negations(text: str) -> tuple[str, ...]:
    return tuple(sorted(lexicon.NEGATIONS[word] for word in words(text) if word in lexicon.NEGATIONS))


@lru_cache(maxsize=4096)
def marked(text: str) -> frozenset[str]:
    line = words(text)
    return frozenset(line) | frozenset(stem(word) for word in line)


def _pairs(pairs: Sequence[tuple[str, ...]]) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(pair) for one, other in pairs for pair in ((one, other), (stem(one), stem(other))))


_OPPOSITES = _pairs(lexicon.OPPOSITES)
_ROLE_PAIRS = _pairs(lexicon.ROLES)
_ROLE_WORDS = frozenset(word for pair in _ROLE_PAIRS for word in pair)


def are_opposites(one: str, other: str) -> bool:
    pair = frozenset({one, other})
    return pair in _OPPOSITES or pair in _ROLE_PAIRS


def has_prefixed(text: str) -> bool:
    return bool(re.search(r"\bnon[- ]\w", text.lower()))


_SPOKEN_OF = {
    "self": lexicon.SELF,
    "you": lexicon.YOU,
    "he": lexicon.HE,
    "she": lexicon.SHE,
    "they": lexicon.THEY,
}


@lru_cache(maxsize=4096)
def roles(text: str) -> frozenset[str]:
    """The parties that the text names, and whether it speaks of the asker or of the asked."""
    line = frozenset(words(text))
    spoken_of = {name for name, group in _SPOKEN_OF.items() if line & group}
    return frozenset(stem(word) for word in line) & _ROLE_WORDS | spoken_of


_BE = lexicon.BE | {"get", "gets", "got"}
_NO_DEED = frozenset(stem(word) for word in lexicon.NO_DEED)


@lru_cache(maxsize=4096)
def done_to(text: str) -> frozenset[str]:
    """The persons to whom something is done: "am I paid", "must the tenant be informed", "who is told"."""
    line = [word for word in words(text) if word not in lexicon.PASSED_OVER]
    found = set()
    for place, word in enumerate(line):
        if not (person := _person(word)):
            continue
        rest = line[place + 1 :]
        if place and line[place - 1] in _BE:  # "am I paid", "is the tenant being informed"
            deeds = [later for later in rest if later not in _BE][:1]
        else:  # "who is told", "the tenant must be told"
            modal = rest[:1] and rest[0] in lexicon.MODALS
            deeds = rest[2 if modal else 1 :][:1] if set(rest[1:2] if modal else rest[:1]) & _BE else []
        found |= {person for deed in deeds if _is_participle(deed) and stem(deed) not in _NO_DEED}
    return frozenset(found)


def _person(word: str) -> str:
    if word in lexicon.SELF:
        return "self"
    if word in lexicon.YOU:
        return "you"
    return (
        stem(word)
        if word in {"who", "whom", "they", "he", "she"} or stem(word) in _ROLE_WORDS or word in lexicon.PERSONS
        else ""
    )


def _is_participle(word: str) -> bool:
    return word.endswith(("ed", "en")) or word in lexicon.PAST_FORMS or word in lexicon.UNCHANGED


_KINDS = (
    ("how often", r"\b(how (often|frequently)|at what intervals?|how many times)\b"),
    ("how long", r"\bhow (long|much time)\b"),
    ("how much", r"\b(how (much|many|large|big|high|small|tall|heavy)|what (price|amount|sum))\b"),
    ("how soon", r"\bhow (soon|quickly|fast)\b"),
    ("how old", r"\bhow old\b"),
    ("how far", r"\bhow far\b"),
    ("why", r"\b(why|what makes|(what|which) (is the |are the )?(reasons?|cause))\b"),
    ("when", r"\b(when|(by|on|at|since|until) (what|which) (time|date|day)|what (time|date)|by when|in (what|which) cases?)\b"),
    ("where", r"\b(where|(in|at|from|to) (what|which) places?|(what|which) place)\b"),
    ("who", r"\b(who|whom|whose|(what|which) persons?|(what|which) people)\b"),
    (
        "how",
        r"\b(how|in (what|which) ways?|is there (a|any) way"
        r"|(what|which)( is| are)?( the)?( best| right| correct| usual)? (way|ways|procedure|process|steps|method)"
        r"|what (do|must|should|can) (i|we|one|you) (have to |need to )?do)\b",
    ),
    ("which", r"\bwhich\b"),
    ("what", r"\bwhat\b"),
)  # fmt: skip
NEAR_KINDS = frozenset(
    frozenset(pair)
    for pair in (
        ("what", "how long"), ("what", "how much"), ("what", "how"), ("what", "do"), ("how", "do"),
        ("which", "what"), ("which", "do"), ("which", "how"), ("which", "where"),
        ("what", "where"), ("when", "how soon"),
    )
)  # fmt: skip


@lru_cache(maxsize=4096)
def kind_of(text: str) -> str:
    """What sort of answer is wanted: ``who``, ``when``, ``how much``..., ``what`` for what and which, ``whether`` for
    yes or no, ``do`` for an order."""
    line = " ".join(words(text))
    found = [
        (match.start(), place, kind)
        for place, (kind, pattern) in enumerate(_KINDS)
        if (match := re.search(pattern, line))
    ]
    if found:
        return min(found)[2]
    first = line.partition(" ")[0]
    asks = text.rstrip().endswith("?")
    return "whether" if asks or (first in lexicon.AUXILIARIES and first != "need") else "do"


_NO_PLACES = frozenset(stem(word) for word in ("outside", "inside", "within", "home"))


def journeys(text: str) -> tuple[tuple[str, str], ...]:
    """``(from, to)`` of each journey that the text names."""
    line = " ".join(stem(word) for word in words(text) if word not in {"the", "a", "an", "my", "your", "our"})
    there = [(one, other) for one, other in re.findall(r"\bfrom (\w+) (?:\w+ )?(?:to|into|onto) (\w+)", line)]
    back = [(other, one) for one, other in re.findall(r"\b(?:to|into|onto) (\w+) (?:\w+ )?from (\w+)", line)]
    return tuple(sorted(pair for pair in there + back if not _NO_PLACES & set(pair)))


@lru_cache(maxsize=4096)
def order(text: str, *, persons_only: bool = False) -> tuple[str, ...]:
    """Persons, names and, unless ``persons_only``, words of polarity in the order of the text."""
    named = names(text)
    found = []
    for word in _settled(words(text)):
        if group := next((name for name, group in _SPOKEN_OF.items() if word in group), None):
            found.append(group)
        elif (
            stem(word) in _ROLE_WORDS
            or word in lexicon.PERSONS
            or word in named
            or (not persons_only and _bare_polar(word))
        ):
            found.append(stem(word))
    return tuple(found)


def _settled(line: tuple[str, ...]) -> tuple[str, ...]:
    """Two words joined by "or", or by an "and" that joins no clauses, in the order of the alphabet: late and damaged,
    damaged and late."""
    found = list(line)
    for place in range(1, len(found) - 1):
        joins_words = place + 2 == len(found) or found[place + 2] in _JOINING
        if found[place] == "or" or (found[place] == "and" and joins_words):
            found[place - 1], found[place + 1] = sorted((found[place - 1], found[place + 1]))
    return tuple(found)


def _bare_polar(word: str) -> bool:
    return stem(word) in _POLAR or stem(word).removeprefix("re") in _POLAR


_POLAR = frozenset(word for pair in _OPPOSITES for word in pair) - frozenset(
    ["in", "on", "up", "off", "give", "have", "get", "receive", "come", "go"]
)


_JOINING = frozenset(["of", "for", "in", "on", "at"])


@lru_cache(maxsize=4096)
def subject(text: str) -> frozenset[str]:
    """The stems of the words that name what the question is about; numbers and their units are another guard's."""
    line = words(text)
    return frozenset(
        stem(word)
        for before, word in zip(("", *line), line, strict=False)
        if word not in lexicon.LIGHT and not is_numeric(word, before)
    )


def weak(text: str) -> frozenset[str]:
    """The stems of the light words that matter when each question has another of them."""
    return frozenset(stem(word) for word in words(text) if word in lexicon.WEAK)


_BEARINGS = {word: word for word in ("to", "from", "by", "for", "against", "with")}
_BEARINGS |= {"into": "to", "onto": "to", "in": "at", "on": "at", "at": "at", "under": "at", "about": "at"}
_ARTICLES = frozenset(["the", "a", "an", "my", "your", "our", "his", "her", "their", "any", "all"])


@lru_cache(maxsize=4096)
def bearings(text: str) -> dict[str, str]:
    """The preposition before each thing that has one of direction: "to the tenant", "by the tenant"."""
    line = [word for word in words(text) if word not in _ARTICLES]
    return {
        stem(word): _BEARINGS[before]
        for before, word in pairwise(line)
        if before in _BEARINGS and (word not in lexicon.LIGHT or any(word in group for group in _SPOKEN_OF.values()))
    }


def doers(text: str) -> frozenset[str] | None:
    """What stands behind "by"; None without that word."""
    line = [word for word in words(text) if word not in _ARTICLES]
    if "by" not in line:
        return None
    return frozenset(stem(word) for before, word in pairwise(line) if before == "by")


def measured_against(text: str) -> tuple[str, ...]:
    """What stands behind "than" or "instead of"."""
    found = re.search(r"\b(?:than|instead of)\b(.*)", " ".join(words(text)))
    return tuple(stem(word) for word in found[1].split() if word not in lexicon.LIGHT) if found else ()


def _groups() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for number, group in enumerate(lexicon.SYNONYMS):
        for word in group:
            found.setdefault(stem(word), set()).add(number)
    return {word: frozenset(numbers) for word, numbers in found.items()}


_GROUPS = _groups()


def left_over(alone: frozenset[str], there: frozenset[str]) -> list[str]:
    """Those of ``alone`` that no word of the other question stands for."""
    known = Counter(number for word in there for number in _GROUPS.get(word, ()))
    return [
        word
        for word in alone
        if not any(known[number] for number in _GROUPS.get(word, ()))
        and not any(_are_derived(word, other) for other in there)
    ]


_DERIVED = ("ation", "ion", "ment", "ance", "able")
_CHANCE = frozenset({"department", "government", "apartment", "contraction", "information"})


def _are_derived(one: str, other: str) -> bool:
    """Install and installation; a shorter word that only happens to begin the longer one is not meant."""
    short, long = sorted((one, other), key=len)
    return len(short) > 4 and long not in _CHANCE and any(long == short + ending for ending in _DERIVED)


@lru_cache(maxsize=4096)
def sequences(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The stems of the words that name what the question is about: in order, and with "the number of the policy" as
    "policy number"."""
    chunks: list[list[str]] = [[]]
    for word in _settled(words(text)):
        if word in _JOINING:
            chunks.append([])
        elif word not in lexicon.LIGHT and not is_numeric(word) and not word.endswith("ly"):
            chunks[-1].append(stem(word))
    plain = tuple(word for chunk in chunks for word in chunk)
    chunks = [chunk for chunk in chunks if chunk] or [[]]
    turned = chunks.pop()
    while chunks:
        chunk = chunks.pop()
        turned = [*chunk[:-1], *turned, chunk[-1]]
    return plain, tuple(turned)


def may_turn(text: str) -> bool:
    """Whether its grammar may put the same thing in another order: a passive."""
    line = words(text)
    return any(
        one in _BE and any(_is_participle(word) for word in line[place + 1 : place + 6])
        for place, one in enumerate(line)
    )
