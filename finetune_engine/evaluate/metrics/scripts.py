"""Which script most of a text is written in: it decides how words are told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from finetune_engine.evaluate.texts.words import is_unspaced

Script = Literal["spaced", "han", "kana", "hangul", "unspaced"]
_SAMPLE = 200_000


def main_script(texts: Iterable[str]) -> Script:
    """``spaced`` unless most letters are of another kind; any kana among Chinese characters makes it Japanese (``kana``).

    Looks at the first 200,000 characters.
    """
    counts: Counter[Script] = Counter()
    left = _SAMPLE
    for text in texts:
        counts.update(_script_of(mark) for mark in text[:left] if mark.isalpha())
        left -= len(text)
        if left <= 0:
            break
    if not counts:
        return "spaced"
    eastern = counts["han"] + counts["kana"]
    if eastern > max(counts["spaced"], counts["hangul"], counts["unspaced"]):
        return "kana" if counts["kana"] > 0.05 * eastern else "han"
    return max(counts, key=lambda script: (counts[script], script))


def _script_of(mark: str) -> Script:
    code = ord(mark)
    if 0x3040 <= code <= 0x30FF:
        return "kana"
    if 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF:
        return "han"
    if 0x1100 <= code <= 0x11FF or 0x3130 <= code <= 0x318F or 0xAC00 <= code <= 0xD7FF:
        return "hangul"
    # Beside Thai and Lao: Myanmar and Khmer write without spaces too.
    if is_unspaced(mark) or 0x1000 <= code <= 0x109F or 0x1780 <= code <= 0x17FF:
        return "unspaced"
    return "spaced"
