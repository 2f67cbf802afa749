"""Which places of plain ASCII texts may belong to personal data, a secret, or a control mark of a model.

The patterns of ``pii.MAY_HOLD_PII`` and ``row_checks.MAY_BE_ODD``, asked only where a byte is no letter and no blank: most
of a text never is. Yes may be said too often, never too seldom; the patterns themselves decide afterwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

# For lower-case text: what is found by letters alone.
WORDS_OF_SECRETS = "akia|asia|aiza|pass|pwd|secret|bearer|api.?key|access.?token|auth.?token"

_DIGITS = b"0123456789"
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))


def _one_of(letters: bytes) -> Mask:
    table = np.zeros(256, bool)
    table[list(letters)] = True
    return table


_DIGIT, _LETTER, _HEX = _one_of(_DIGITS), _one_of(_LETTERS), _one_of(_DIGITS + b"abcdefABCDEF")
# A mark alone, with the byte before it, with the byte after it.
_ALONE = _one_of(b"<@_")
_AFTER_BRACKET = _one_of(b"/IPCSMU")
_BEFORE_HYPHEN = _one_of(b"ktabeprsXi")
_BEFORE_DOT, _AFTER_DOT = _one_of(b"9G"), _one_of(_DIGITS + b"es")
_HEX_OR_COLON = _one_of(_DIGITS + b"abcdefABCDEF:")
_ENDS_INSURANCE_NUMBER = _one_of(b"ABCDabcd")
_SEVEN_DIGITS, _SIX_DIGITS = 24, 7


def may_matter(data: Bytes, places: Places, marks: Bytes, rows: Places) -> Places:
    """The rows (some more than once) with such a place. ``places`` are those of the ``marks``, all bytes of the texts that
    are neither letters nor blanks, with their ``rows``. A byte stands before and after each."""
    before, after = data[places - 1], data[places + 1]
    found = _ALONE[marks]
    found |= (marks == ord("[")) & _AFTER_BRACKET[after]
    found |= (marks == ord("-")) & (_BEFORE_HYPHEN[before] | (after == ord("-")))
    found |= (marks == ord(".")) & (_BEFORE_DOT[before] | _AFTER_DOT[after])
    found |= (marks == ord(":")) & _HEX[before] & _HEX_OR_COLON[after]
    digit = _DIGIT[marks]
    found |= digit & _LETTER[before]
    return np.concatenate((rows[found], _with_numbers(data, places[digit], rows[digit])))


def _with_numbers(data: Bytes, digits: Places, rows: Places) -> Places:
    """Rows with seven digits close together, or six before one of the letters that end a national insurance number."""
    seven = (digits[6:] - digits[:-6] <= _SEVEN_DIGITS) & (rows[6:] == rows[:-6])
    six = (digits[5:] - digits[:-5] <= _SIX_DIGITS) & (rows[5:] == rows[:-5])
    last = digits[5:][six]
    blank = data[last + 1] == ord(" ")
    ends = _ENDS_INSURANCE_NUMBER[np.where(blank, data[np.minimum(last + 2, len(data) - 1)], data[last + 1])]
    return np.concatenate((rows[6:][seven], rows[5:][six][ends]))
