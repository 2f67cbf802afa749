"""Lines that one program wrote alike, read from their bytes: no parser, no object per row, and no text copied.

A line is read here when it is printable ASCII without a backslash (so that every text stands in it as it is), holds four
pairs of quotes, and is around its two texts byte by byte what the first such line is. Of a line like that nothing else
can be true than of the first one but its two texts. Every other line is left to the parser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa

from finetune_engine.data.plain_marks import WORDS_OF_SECRETS, may_matter
from finetune_engine.data.stored_once import form_around, replaced

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_QUOTES = 8
_LOOKED_AT = 20
_STEP = 1 << 17
_BLANK, _QUOTE, _BACKSLASH = 0x20, 0x22, 0x5C


@dataclass(frozen=True)
class Form:
    """What stands before, between and after the two texts of a line, and which of them comes first."""

    before: bytes
    between: bytes
    after: bytes
    prompt_first: bool


def form_of(lines: Sequence[object], prompt: str, answer: str) -> Form | None:
    """The form of the first line that has one: the two columns by these names, as texts, and nothing else."""
    for line in lines[:_LOOKED_AT]:
        if type(line) is not bytes or line.count(b'"') != _QUOTES or b"\\" in line or not line.isascii():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if type(value) is dict and len(value) == 2 and value.keys() == {prompt, answer}:
            # Four pairs of quotes and two names: both values are texts.
            pieces = line.split(b'"')
            before, between, after = (b'"'.join(part) for part in (pieces[:3], pieces[4:7], pieces[8:]))
            return Form(before + b'"', b'"' + between + b'"', b'"' + after, next(iter(value)) == prompt)
    return None


class PlainRows:
    """The lines of ``form`` among some lines: ``fits`` says which. All columns are views of two blocks of bytes."""

    def __init__(self, lines: Sequence[bytes], form: Form) -> None:
        self._form = form
        self._block = b"".join(lines)
        self._data = np.frombuffer(self._block, np.uint8)
        self._starts = np.zeros(len(lines) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)), out=self._starts[1:])
        places, self._blanks = _marks_and_blanks(self._data)
        marks = self._data[places]
        quotes, odd = places[marks == _QUOTE], places[(marks - 0x20 > 0x5E) | (marks == _BACKSLASH)]
        first = np.searchsorted(quotes, self._starts)
        self.fits = np.diff(first) == _QUOTES
        self.fits[np.searchsorted(self._starts, odd, side="right") - 1] = False
        self._cuts = self._cut(quotes, first[:-1][self.fits])
        self._matter = self._rows_that_matter(places, marks, first)

    def _cut(self, quotes: Places, first: Places) -> Places:
        """Where the two texts begin and end in each line that fits. Lines of another form fit no more after this."""
        form, data = self._form, self._data
        rows = np.flatnonzero(self.fits)
        starts, ends = self._starts[rows], self._starts[rows + 1]
        cuts = np.stack((quotes[first + 2] + 1, quotes[first + 3], quotes[first + 6] + 1, quotes[first + 7]), axis=1)
        around = (
            (starts, cuts[:, 0], form.before),
            (cuts[:, 1], cuts[:, 2], form.between),
            (cuts[:, 3], ends, form.after),
        )
        same = np.ones(len(rows), bool)
        for begin, end, text in around:
            same &= end - begin == len(text)
        for begin, _, text in around:
            found = data[begin[same][:, None] + np.arange(len(text))]
            same[same] = (found == np.frombuffer(text, np.uint8)).all(axis=1)
        self.fits[rows[~same]] = False
        return cuts[same]

    def _rows_that_matter(self, places: Places, marks: Bytes, first: Places) -> Mask:
        """Which rows that fit may hold control marks of models or personal data. The word after a text's opening quote
        and before its closing one: only marks inside the two texts count."""
        row = np.repeat(np.arange(len(self.fits)), np.diff(np.searchsorted(places, self._starts)))
        nth = np.cumsum(marks == _QUOTE) - first[row]
        inside = self.fits[row] & ((nth == 3) | (nth == 7)) & (marks != _QUOTE)
        matter = np.zeros(len(self.fits), bool)
        matter[may_matter(self._data, places[inside], marks[inside], row[inside])] = True
        chosen: Mask = matter[self.fits]
        return chosen

    def frame(self) -> pl.DataFrame:
        """The rows that fit: ``prompt``, ``answer``, their normal forms and words, ``original_form``, and ``suspect``."""
        lower = self._block.lower()
        texts, normal = self._texts(self._block), self._texts(lower)
        # A blank whose next byte is a blank too; the next byte of the last bit of a word begins the next word.
        following = np.append(self._blanks[1:], np.uint64(0))
        doubled = self._blanks & ((self._blanks >> np.uint64(1)) | (following << np.uint64(63)))
        counters = _Counts(self._blanks), _Counts(doubled)
        words = [self._tidied(normal, place, *counters) for place in (0, 1)]
        found = pl.Series(self._matter) | self._lines(lower).str.contains(WORDS_OF_SECRETS)
        asked, said = (0, 1) if self._form.prompt_first else (1, 0)
        around = (part.decode() for part in (self._form.before, self._form.between, self._form.after))
        form = form_around(*around, prompt_first=self._form.prompt_first)
        return pl.DataFrame(
            {
                "prompt": texts[asked],
                "answer": texts[said],
                "prompt_norm": normal[asked],
                "answer_norm": normal[said],
                "prompt_words": words[asked],
                "answer_words": words[said],
                "suspect": found,
                "original_form": pl.repeat(form, len(self._cuts), dtype=pl.String, eager=True),
            }
        )

    def _texts(self, block: bytes) -> list[pl.Series]:
        """The first and the second text of each row, out of a block with the bytes of the lines."""
        # One array holds the block cut into pieces one after the other; every second of them is a text.
        offsets = np.append(self._cuts.ravel(), len(block))
        array = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(block))
        pieces = pl.Series(array)
        return [pieces.gather_every(4, 0), pieces.gather_every(4, 2)]

    def _lines(self, block: bytes) -> pl.Series:
        array = pa.LargeStringArray.from_buffers(len(self._starts) - 1, pa.py_buffer(self._starts), pa.py_buffer(block))
        lines = pl.Series(array)
        return lines if self.fits.all() else lines.filter(pl.Series(self.fits))

    def _tidied(self, normal: list[pl.Series], place: int, blanks: _Counts, doubled: _Counts) -> pl.Series:
        """The words of the texts in one place; their normal forms lose blanks at the ends and second ones in a row."""
        begin, end = self._cuts[:, 2 * place], self._cuts[:, 2 * place + 1]
        counts = blanks.between(begin, end) + (end > begin)
        untidy = ((self._data[begin] == _BLANK) | (self._data[end - 1] == _BLANK)) & (end > begin)
        untidy |= doubled.between(begin, end) > 0
        index = np.flatnonzero(untidy)
        if len(index):
            tidy = [" ".join(text.split()) for text in normal[place].gather(index).to_list()]
            counts[index] = [text.count(" ") + (text != "") for text in tidy]
            normal[place] = replaced(normal[place], index, pl.Series(tidy, dtype=pl.String))
        return pl.Series(counts, dtype=pl.Int32)


def _marks_and_blanks(data: Bytes) -> tuple[Places, npt.NDArray[np.uint64]]:
    """The places of all bytes but letters and blanks (a few in a line), and one bit for each byte: is it a blank?

    In steps that stay in the processor's cache, which is several times as fast as in one.
    """
    places: list[Places] = []
    bits = np.zeros(len(data) // 64 * 8 + 16, np.uint8)
    for begin in range(0, len(data), _STEP):
        part = data[begin : begin + _STEP]
        blank = part == _BLANK
        places.append(np.flatnonzero(((part | 0x20) - 0x61 > 25) & ~blank) + begin)
        packed = np.packbits(blank, bitorder="little")
        bits[begin // 8 : begin // 8 + len(packed)] = packed
    return np.concatenate(places), bits.view(np.uint64)


class _Counts:
    """How many bits are set between two places, for many pairs of places at once."""

    def __init__(self, words: npt.NDArray[np.uint64]) -> None:
        self._words = words
        self._before = np.concatenate(([0], np.cumsum(np.bitwise_count(words), dtype=np.int64)))

    def between(self, begin: Places, end: Places) -> Places:
        """Counts from each ``begin`` to its ``end`` (excluded)."""
        return self._up_to(end) - self._up_to(begin)

    def _up_to(self, place: Places) -> Places:
        word, bit = place >> 6, (place & 63).astype(np.uint64)
        below = (np.uint64(1) << bit) - np.uint64(1)
        counts: Places = np.bitwise_count(self._words[word] & below) + self._before[word]
        return counts
