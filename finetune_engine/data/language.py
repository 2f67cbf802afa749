"""Which language texts are in: by their script for every row, by their words where rows are few enough.

Inputs and answers are looked at apart, so that a set of translations is not full of mistakes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from finetune_engine.data.records import Finding

if TYPE_CHECKING:
    import polars as pl

SAMPLE = 1_000
# Sets up to this size are looked at row by row (up to 0.1 milliseconds a text); larger ones by script alone.
IDENTIFY_ROWS = 20_000
_SURE = 0.9
_BY_SCRIPT = ("ja", "ko", "th", "zh")
_SURE_BY_SCRIPT = 0.5
_LEAST_WORDS = 8
_LEAST_LETTERS = 10
_READ_CHARACTERS = 400
_MAIN_SHARE = 0.8
_COMMON_SHARE = 0.05

_SCRIPTS = {
    "Latin": r"\p{Latin}",
    "Cyrillic": r"\p{Cyrillic}",
    "Greek": r"\p{Greek}",
    "Arabic": r"\p{Arabic}",
    "Hebrew": r"\p{Hebrew}",
    "Devanagari": r"\p{Devanagari}",
    "Chinese or Japanese": r"[\p{Han}\p{Hiragana}\p{Katakana}]",
    "Korean": r"\p{Hangul}",
    "Thai": r"\p{Thai}",
    "Georgian": r"\p{Georgian}",
    "Armenian": r"\p{Armenian}",
    "Bengali": r"\p{Bengali}",
    "Tamil": r"\p{Tamil}",
    "Telugu": r"\p{Telugu}",
}  # fmt: skip
_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque",
    "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician", "he": "Hebrew", "hi": "Hindi",
    "hr": "Croatian", "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian",
    "ja": "Japanese", "ka": "Georgian", "kk": "Kazakh", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "mk": "Macedonian", "ms": "Malay", "nb": "Norwegian", "nl": "Dutch", "nn": "Norwegian", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
# Languages that are easily taken for one another: one of them among the other is no finding.
_ALIKE = (
    {"da", "nb", "nn", "no", "sv"}, {"bs", "hr", "sl", "sr"}, {"id", "ms"}, {"cs", "sk"}, {"ca", "es", "gl", "pt"},
    {"be", "bg", "mk", "ru", "sr", "uk"}, {"hi", "mr", "ne"}, {"ja", "zh"}, {"fa", "ur"}, {"et", "fi"},
)  # fmt: skip

# Small words that tell these languages from one another. Most texts are decided by them, a hundred times faster than
# by the identifier, which is asked about the rest.
_SMALL_WORDS = {
    "en": "the|and|to|you|this|that|are|with|from|have|shall|not|be|by|any|your|may",
    "de": "der|die|und|das|nicht|ist|mit|für|auf|eine|werden",
    "fr": "le|les|des|est|une|dans|pour|sur|avec|vous|qui",
    "es": "el|los|las|una|por|para|con|del|como|más",
    "it": "il|che|della|per|sono|gli|nel|alla|di|non",
    "pt": "os|uma|não|para|com|dos|das|em|ao|são",
    "nl": "het|een|van|niet|voor|zijn|aan|dat|wordt",
}
_LEAST_SMALL_WORDS = 3
_SMALL_WORDS_PER_CHARACTER = 1 / 90
_MOST_IDENTIFIED = 200


def language_name(code: str) -> str:
    """The English name of an ISO 639-1 code, the code itself when it is not among the usual ones."""
    return _NAMES.get(code, code)


@dataclass(frozen=True)
class MainLanguage:
    """What most texts of a sample are in.

    ``language`` (ISO 639-1) and ``script`` are None when no one has four fifths of the texts that could be told.
    ``languages`` and ``scripts`` are those that are common enough (5 %) to be meant. ``counts`` are texts of the
    sample by language.
    """

    language: str | None = None
    script: str | None = None
    languages: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()
    counts: Counter[str] = field(default_factory=Counter)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def identify(text: str) -> str | None:
    """The language of a text (ISO 639-1); None when it is too short or the guess is not sure."""
    part = text[:_READ_CHARACTERS]
    has_words = len(part.split(None, _LEAST_WORDS)) >= _LEAST_WORDS
    if not has_words and (part.isascii() or len(part) < _LEAST_LETTERS):
        return None
    code, confidence = _identifier().classify(part)
    # Scripts without blanks say in ten letters what takes others eight words, and tell the language by themselves.
    if code in _BY_SCRIPT:
        return code if confidence >= _SURE_BY_SCRIPT else None
    return code if has_words and confidence >= _SURE and code in _NAMES else None


def count_languages(texts: Sequence[str]) -> Counter[str]:
    """How many of the texts are in which language; those that cannot be told are left out."""
    return Counter(code for text in texts if (code := identify(text)) is not None)


def main_language(texts: Sequence[str]) -> MainLanguage:
    """What most of the texts are in. Looks at ``SAMPLE`` of them, spread evenly."""
    import polars as pl

    column = pl.Series(_spread(texts, SAMPLE), dtype=pl.String)
    counts = _languages(column)
    scripts = Counter(scripts_of(column).drop_nulls().to_list())
    language, languages = _main(counts)
    script, common = _main(scripts)
    return MainLanguage(language, script, languages, common, counts)


def _spread(texts: Sequence[str], most: int) -> list[str]:
    if len(texts) <= most:
        return list(texts)
    return [texts[place * len(texts) // most] for place in range(most)]


def _languages(column: pl.Series) -> Counter[str]:
    """Texts by language: by small words, and by the identifier for some of those that they leave open."""
    import polars as pl

    frame = pl.DataFrame([_small_words(column, code).alias(code) for code in _SMALL_WORDS])
    most = pl.max_horizontal(*_SMALL_WORDS)
    # Twice as many as of any other language: neighbours share some words.
    close = pl.sum_horizontal(pl.col(code) * 2 > most for code in _SMALL_WORDS) > 1
    enough = (most >= _LEAST_SMALL_WORDS) & ~close
    choice = pl.coalesce(pl.when(enough & (pl.col(code) == most)).then(pl.lit(code)) for code in _SMALL_WORDS)
    chosen = frame.select(choice.alias("language"))["language"]
    counts = Counter(chosen.drop_nulls().to_list())
    open_texts = column.filter(chosen.is_null()).drop_nulls().to_list()
    if len(open_texts) <= _COMMON_SHARE * len(column) and counts:  # too few to change what is usual
        return counts
    asked = _spread(open_texts, _MOST_IDENTIFIED)
    for code, count in count_languages(asked).items():
        counts[code] += round(count * len(open_texts) / len(asked))
    return counts


def _small_words(column: pl.Series, code: str) -> pl.Series:
    """How many small words of a language each text has at its beginning; 0 where they are too few for its length."""
    begun = column.str.slice(0, _READ_CHARACTERS)
    count = begun.str.count_matches(rf"(?i)\b(?:{_SMALL_WORDS[code]})\b").fill_null(0)
    return count * (count >= begun.str.len_chars().fill_null(0) * _SMALL_WORDS_PER_CHARACTER)


def _main(counts: Counter[str]) -> tuple[str | None, frozenset[str]]:
    total = counts.total()
    common = frozenset(name for name, count in counts.items() if count >= _COMMON_SHARE * total)
    if not total:
        return None, common
    name, count = counts.most_common(1)[0]
    return (name if count >= _MAIN_SHARE * total else None), common


def scripts_of(column: pl.Series) -> pl.Series:
    """The script of most letters at the beginning of each text; null where another script than Latin has a few letters."""
    import polars as pl

    scripts = pl.select(pl.when(column.is_not_null()).then(pl.lit("Latin"))).to_series()
    foreign = (column.str.len_bytes() != column.str.len_chars()).fill_null(False).arg_true()
    if foreign.is_empty():
        return scripts
    # The beginning tells the script, and most texts with letters outside ASCII have only Latin ones.
    begun = column.gather(foreign).str.slice(0, _READ_CHARACTERS)
    other = begun.str.contains(r"[\p{L}--\p{Latin}]")
    index, part = foreign.filter(other), begun.filter(other).to_frame("text")
    if index.is_empty():
        return scripts
    counts = part.select(pl.col("text").str.count_matches(pattern).alias(name) for name, pattern in _SCRIPTS.items())
    most = pl.max_horizontal(*_SCRIPTS)
    choice = pl.coalesce(pl.when(pl.col(name) == most).then(pl.lit(name)) for name in _SCRIPTS)
    return scripts.scatter(index, counts.select(pl.when(most >= _LEAST_LETTERS).then(choice)).to_series())


def mismatches(frame: pl.DataFrame, main: dict[str, MainLanguage], *, by_words: bool) -> Iterator[Finding]:
    """Rows whose ``prompt`` or ``answer`` is in another language than most (``main``: by column).

    Compares scripts; with ``by_words`` also languages of one script. At most one finding per row and column.
    """
    import polars as pl

    for column, usual in main.items():
        if usual.script is None:
            continue
        scripts = scripts_of(frame[column])
        odd = (scripts.is_not_null() & ~scripts.is_in(list(usual.scripts))).fill_null(False)
        part = frame.select("row", "line", column).with_columns(scripts.alias("script"))
        for row, line, _, script in part.filter(odd).iter_rows():
            yield _finding(column, f"the {script} script", f"the {usual.script} script").placed(row, line)
        if by_words and usual.language is not None:
            rest = part.filter(~odd & (pl.col(column).str.len_bytes() >= 30))
            yield from _other_words(rest, column, usual)


def _other_words(frame: pl.DataFrame, column: str, usual: MainLanguage) -> Iterator[Finding]:
    assert usual.language is not None
    if usual.language in _SMALL_WORDS:
        frame = frame.filter(_small_words(frame[column], usual.language) < _LEAST_SMALL_WORDS)
    same = usual.languages.union(*(group for group in _ALIKE if usual.language in group))
    for row, line, text, _ in frame.iter_rows():
        code = identify(text)
        if code is not None and code not in same:
            finding = _finding(column, language_name(code), language_name(usual.language))
            yield finding.placed(row, line)


def _finding(column: str, found: str, expected: str) -> Finding:
    part, parts = ("input", "inputs") if column == "prompt" else ("answer", "answers")
    return Finding(
        "language_mismatch",
        f"has an {part} in {found}, while most {parts} are in {expected}.",
        column=column,
        found=found,
        expected=expected,
        fix="Translate it, or keep it if both are wanted.",
    )
