"""The sheet: its fonts, colours, header and footer, and how words are put on it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.prefs import ViewerPreferences

from evaluation_app.exports.pdf.fonts import BOLD, BOX, REGULAR, fallbacks_for, letters_of, missing_from, own_letters

Colour = tuple[int, int, int]
INK: Colour = (23, 33, 35)
INK_2: Colour = (70, 83, 86)
INK_3: Colour = (110, 122, 125)
LINE: Colour = (216, 223, 221)
SOFT: Colour = (244, 246, 245)
ACCENT: Colour = (15, 92, 98)
SERIES: tuple[Colour, ...] = ((106, 118, 121), (15, 107, 114), (91, 74, 158), (180, 84, 10))
TONES: dict[str, tuple[Colour, Colour]] = {  # ink and ground
    "ok": ((26, 103, 58), (226, 242, 231)),
    "warn": ((119, 72, 0), (251, 240, 216)),
    "bad": ((161, 37, 30), (251, 232, 230)),
    "info": ((29, 78, 143), (230, 238, 249)),
    "idle": ((70, 83, 86), (232, 237, 236)),
    "": ((70, 83, 86), (244, 246, 245)),
}
MARGIN = 18.0
FOOT = 18.0
IDENTITY = 19.0
POINT = 0.3528  # millimetres
NARROWEST = 0.4
"""Millimetres: no letter that is seen is narrower in any pen here."""
FAMILY = "DejaVu"


class Paper(FPDF):
    """An A4 sheet. Lengths in millimetres, letters in points. ``missing`` counts the letters that no font here has."""

    def __init__(self, texts: Iterable[str], *, head: str, tail: str, foot: str) -> None:
        super().__init__(orientation="portrait", unit="mm", format="A4")
        self._head, self._tail, self._foot = head, tail, foot
        self.missing: set[str] = set()
        self._letters = own_letters()
        self.add_font(FAMILY, "", REGULAR)
        self.add_font(FAMILY, "B", BOLD)
        self._add_fallbacks(list(texts))
        self.set_margins(MARGIN, MARGIN, MARGIN)
        self.c_margin = 0.0  # words begin where lines and boxes begin
        self.set_auto_page_break(False)
        self.alias_nb_pages("{pages}")

    def describe(self, *, title: str, subject: str, author: str, at: datetime, language: str) -> None:
        """What readers and search engines are told; the title stands in the window."""
        self.set_title(title)
        self.set_subject(subject)
        self.set_author(author)
        self.set_creator("Tunesmith")
        self.set_lang(language)
        self.set_creation_date(at)
        self.viewer_preferences = ViewerPreferences(display_doc_title=True)

    def header(self) -> None:
        """The model and the verdict, from the second page on."""
        if self.page_no() == 1:
            return
        self.pen(7.5, INK_3)
        self.set_xy(MARGIN, 9)
        self.cell(self.epw * 0.7, 4, self.fitting(self._head, self.epw * 0.7))
        self.cell(self.epw * 0.3, 4, self.clean(self._tail), align="R")
        self.rule(14.5)
        self.set_xy(MARGIN, MARGIN + 2)

    def footer(self) -> None:
        """Date and fingerprint, and the number of the page."""
        self.pen(7, INK_3)
        self.rule(self.h - 14)
        self.set_xy(MARGIN, self.h - 12.5)
        self.cell(self.epw * 0.75, 4, self.clean(self._foot))
        words = _("Page %(n)s of %(all)s")
        wide = self.get_string_width(words % {"n": self.page_no(), "all": "88"})
        self.set_xy(self.w - MARGIN - wide, self.h - 12.5)
        self.cell(wide, 4, words % {"n": self.page_no(), "all": "{pages}"})

    # --- letters

    def pen(self, size: float, colour: Colour = INK, *, bold: bool = False) -> None:
        """Write with this size and colour from now on."""
        self.set_font(FAMILY, "B" if bold else "", size)
        self.set_text_color(*colour)

    def cell(self, *args: Any, **kwargs: Any) -> Any:
        """As FPDF's. The pen is set anew for what follows: after a text that begins with letters of a fallback font FPDF takes
        it for set though it is not, and the next text would be drawn with the signs of another font."""
        turned = super().cell(*args, **kwargs)
        self.current_font_is_set_on_page = False
        return turned

    def clean(self, text: str) -> str:
        """The text with a box for each letter that no font here has, and without control characters."""
        text = text.replace(" %", "\N{NO-BREAK SPACE}%")
        if not self._absent(text):
            return text.replace("\r", "").replace("\t", "    ")
        out = []
        for letter in text.replace("\r", "").replace("\t", "    "):
            if letter != "\n" and missing_from((letter,), self._letters):
                self.missing.add(letter)
                out.append(BOX)
            else:
                out.append(letter)
        return "".join(out)

    def lines(self, text: str, width: float, most: int = 0) -> list[str]:
        """The text broken into lines of ``width`` in the present pen; with ``most``, no more than so many of them, the last
        with an ellipsis. Of a whole document only the beginning is then laid out."""
        clean = self.clean(text[: (most + 1) * int(width / NARROWEST + 2)] if most else text)
        if not clean:
            return []
        found = self.multi_cell(max(4.0, width), 4, clean, dry_run=True, output="LINES", align="L", padding=0)
        lines = list(found) if isinstance(found, list) else []
        return lines if not most or len(lines) <= most else [*lines[: most - 1], lines[most - 1].rstrip() + " …"]

    def fitting(self, text: str, width: float) -> str:
        """The text cut to ``width``, with an ellipsis."""
        clean = " ".join(self.clean(text).split())
        if self.get_string_width(clean) <= width:
            return clean
        ends = range(len(clean))  # by halves: a name may be of any length
        kept = bisect_left(ends, True, key=lambda end: self.get_string_width(clean[: end + 1] + "…") > width)
        return clean[:kept].rstrip() + "…"

    def write_lines(
        self, lines: Sequence[str], x: float, y: float, width: float, leading: float, align: str = "L"
    ) -> float:
        """Put lines below one another; returns where the next would stand. No page is turned."""
        for line in lines:
            self.set_xy(x, y)
            self.cell(width, leading, line, align=align, new_x=XPos.LMARGIN, new_y=YPos.TOP)
            y += leading
        return y

    def leading(self, factor: float = 1.42) -> float:
        """The height of a line in the present pen."""
        return float(self.font_size_pt) * POINT * factor

    # --- places

    @property
    def bottom(self) -> float:
        """Where writing has to end; the first page keeps room for who it is and who signed."""
        return float(self.h - FOOT - (IDENTITY if self.page_no() == 1 else 0.0))

    def need(self, height: float) -> bool:
        """Turn the page unless ``height`` fits on it; whether it was turned."""
        if self.get_y() + height <= self.bottom:
            return False
        self.add_page()
        self.set_y(MARGIN + 2)
        return True

    def rule(self, y: float, colour: Colour = LINE, width: float = 0.2) -> None:
        """A line across the page."""
        self.set_draw_color(*colour)
        self.set_line_width(width)
        self.line(MARGIN, y, self.w - MARGIN, y)

    def badge(self, word: str, tone: str, x: float, y: float, size: float = 7.0) -> float:
        """A word on a coloured ground; returns its width."""
        ink, ground = TONES.get(tone, TONES[""])
        self.pen(size, ink, bold=True)
        text = self.clean(word)
        width, height = self.get_string_width(text) + 3.2, size * POINT * 1.75
        self.set_fill_color(*ground)
        self.set_draw_color(*ink)
        self.set_line_width(0.15)
        self.rect(x, y, width, height, style="DF", round_corners=True, corner_radius=1.1)
        self.set_xy(x, y)
        self.cell(width, height, text, align="C")
        return width

    def _absent(self, text: str) -> bool:
        return bool(missing_from((text,), self._letters)) or "\r" in text

    def _add_fallbacks(self, texts: list[str]) -> None:
        paths = fallbacks_for(missing_from(texts, self._letters))
        names = []
        for number, path in enumerate(paths):
            name = f"Other{number}"
            self.add_font(name, "", path)
            self.add_font(name, "B", path)
            self._letters = self._letters | letters_of(path)
            names.append(name)
        if names:
            self.set_fallback_fonts(names, exact_match=False)
