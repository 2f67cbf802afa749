"""Excel workbooks: which sheet is read, what becomes of cells, and what is refused before it is unpacked."""

from __future__ import annotations

import datetime
import gzip
import struct
import time
import zipfile
from pathlib import Path

import polars as pl
import pytest

from finetune_engine.data.options import read_options
from finetune_engine.data.prepare import prepare
from finetune_engine.data.readers import open_records, sniff
from finetune_engine.data.readers import zip_contents as guard
from finetune_engine.errors import UserError
from finetune_engine.events import ListSink
from finetune_engine.ports import Run
from tests.finetune_engine.data.made_files import (
    letters,
    sheet_of,
    sheet_xml,
    text_cell,
    values,
    with_parts,
    workbook,
)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return workbook(tmp_path / "letters.xlsx", {"Letters": letters()})


def test_a_workbook_is_read_row_by_row(book):
    opened = open_records(book)
    assert (opened.shown_type, opened.sheet, opened.layout.columns) == ("xlsx", "Letters", ("text", "label"))
    assert values(opened)[0] == {"text": "letter number 0 about a parcel", "label": "a"}
    assert len(values(opened)) == 12


def test_the_line_is_the_number_that_excel_shows_beside_the_row(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"S": [["Report of March"], [], *letters(2), [], ["last", "b"]]})
    records = list(open_records(path).records())
    assert [(r.row, r.line, r.sheet) for r in records] == [(1, 4, "S"), (2, 5, "S"), (3, 7, "S")]


def test_a_finding_names_the_row_of_the_sheet(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"My sheet": [["text", "label"], ["", "b"], ["x" * 3000, "b"]]})
    record = list(open_records(path, max_line_bytes=1000).records())[1]
    sentence = record.findings[0].placed(record.row, record.line, record.sheet).message
    assert sentence == (
        "Row 2 (row 3 of the sheet “My sheet”) is 0.0 MB long; the most a row may have is 0.0 MB. Split it or remove it."
    )


def test_a_check_on_the_text_names_the_row_of_the_sheet_too(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"Letters": [*letters(), ["", "a"]]})
    prepare(path, tmp_path / "out", read_options({}), Run(ListSink()))
    said = pl.read_parquet(tmp_path / "out" / "findings.parquet").filter(code="empty_input")["message"].to_list()
    assert said == ["Row 13 (row 14 of the sheet “Letters”) has no input. Write the input, or remove the row."]


def test_the_first_sheet_with_a_header_and_rows_is_read_and_the_others_are_named(tmp_path):
    sheets = {"Notes": [], "Header": [["text", "label"]], "Data": letters(3), "More": letters(4)}
    opened = open_records(workbook(tmp_path / "a.xlsx", sheets))
    assert opened.sheet == "Data"
    assert opened.notes == [
        {
            "code": "other_sheets",
            "message": "a.xlsx has several sheets. “Data” was read; passed over: “Notes”, “Header”, “More”. "
            "Save each sheet you need as a file of its own.",
        }
    ]


def test_a_hidden_sheet_comes_after_the_visible_ones(tmp_path):
    import openpyxl

    path = workbook(tmp_path / "a.xlsx", {"Hidden": letters(2), "Seen": letters(3)})
    book = openpyxl.load_workbook(path)
    book["Hidden"].sheet_state = "hidden"
    book.save(path)
    assert open_records(path).sheet == "Seen"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (1, 1),
        (1.0, 1),
        (1.5, 1.5),
        (-3.0, -3),
        (True, True),
        ("1.0", "1.0"),
        ("007", "007"),
        ("line one\nline two", "line one\nline two"),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(hours=30), "30:00:00"),
        (None, ""),
    ],
)
def test_a_cell_is_what_a_person_reads_in_it(tmp_path, cell, value):
    path = workbook(tmp_path / "a.xlsx", {"S": [["text", "cell"], ["x", cell]]})
    assert values(path) == [{"text": "x", "cell": value}]


def test_an_escaped_line_break_becomes_one(book, tmp_path):
    path = sheet_xml(book, tmp_path / "b.xlsx", sheet_of(f'<row r="1">{text_cell("A1", "text")}</row><row r="2">'
                                                         f'{text_cell("A2", "one_x000D_two")}</row>'))  # fmt: skip
    assert values(path) == [{"text": "one\rtwo"}]


def test_a_cell_to_the_right_of_the_header_is_kept(tmp_path):
    path = workbook(tmp_path / "a.xlsx", {"S": [*letters(2), ["last", "b", None, "a note"]]})
    assert values(path)[2] == {"text": "last", "label": "b", "column 4": "a note"}


def test_a_gzipped_workbook_is_read(book, tmp_path):
    packed = tmp_path / "letters.xlsx.gz"
    packed.write_bytes(gzip.compress(book.read_bytes()))
    assert len(values(packed)) == 12


def test_progress_reaches_the_size_of_the_file(book):
    opened = open_records(book)
    values(opened)
    assert opened.bytes.consumed == opened.bytes.size == book.stat().st_size


def test_a_workbook_called_csv_is_read_and_said(book, tmp_path):
    named = book.rename(tmp_path / "letters.csv")
    opened = open_records(named)
    assert len(values(opened)) == 12
    assert opened.notes[0] == {
        "code": "other_file_type",
        "message": "letters.csv is called .csv but holds an Excel workbook. It was read as what it holds.",
    }


def test_a_table_called_xlsx_is_read_and_said(tmp_path):
    path = tmp_path / "letters.xlsx"
    path.write_text("text;label\n" + "\n".join(f"letter {i};a" for i in range(5)))
    opened = open_records(path)
    assert (len(values(opened)), opened.shown_type) == (5, "csv")
    assert opened.notes[0]["message"] == (
        "letters.xlsx is called .xlsx but holds a table in text form (CSV). It was read as what it holds."
    )


def test_the_preview_names_the_sheet_and_the_warnings(tmp_path):
    preview = sniff(workbook(tmp_path / "a.xlsx", {"One": letters(3), "Two": letters(3)}))
    assert (preview.format, preview.file_type, preview.sheet, preview.columns, preview.delimiter) == (
        "text_label",
        "xlsx",
        "One",
        ["text", "label"],
        None,
    )
    assert [w["code"] for w in preview.warnings] == ["other_sheets"]
    assert preview.rows[0].original == '{"text":"letter number 0 about a parcel","label":"a"}'


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as refused:
        open_records(path)
    assert refused.value.place.file == path.name
    return refused.value


def test_a_declared_range_of_the_whole_sheet_costs_nothing(book, tmp_path):
    def claim(name: str, data: bytes) -> bytes:
        head, found, tail = data.partition(b'<dimension ref="')
        return head + found + b"A1:XFD1048576" + tail[tail.index(b'"') :] if found else data

    path = with_parts(book, tmp_path / "b.xlsx", claim)
    begun = time.monotonic()
    assert len(values(path)) == 12
    assert time.monotonic() - begun < 2


def test_formatted_but_empty_cells_in_the_far_corner_cost_nothing(book, tmp_path):
    import openpyxl

    loaded = openpyxl.load_workbook(book)
    loaded.active["XFD1048576"].font = openpyxl.styles.Font(bold=True)
    loaded.save(tmp_path / "b.xlsx")
    assert len(values(tmp_path / "b.xlsx")) == 12


@pytest.mark.parametrize(
    "cell",
    [
        text_cell("XFD1048576", "x"),
        text_cell("XFD1048576", "x").replace('"', "'"),
        text_cell("XFD1048576", "x").replace("<c ", "<c s='/>' "),
        text_cell("XFD1048576", "x").replace("<c ", "<c\n").replace("r=", "r = "),
        text_cell("XFD1048576", "x").replace(" t=", " " * 3_000_000 + " t="),
    ],
)
def test_a_cell_in_the_far_corner_is_refused_before_memory_is_asked_for_it(book, tmp_path, cell):
    xml = sheet_of(f'<row r="1">{text_cell("A1", "text")}</row><row r="1048576">{cell}</row>')
    error = refusal(sheet_xml(book, tmp_path / "b.xlsx", xml))
    assert error.code == "sheet_too_large"
    assert error.sentence == (
        "A sheet of b.xlsx has cells in use as far as XFD1048576, with almost nothing before them. "
        "Delete the empty rows and columns around the table, save the workbook and upload it again."
    )


def test_cells_without_places_are_counted_too(book, tmp_path):
    cell = '<c t="inlineStr"><is><t>x</t></is></c>'
    rows = f"<row>{cell * 2}</row>" * 3
    assert len(values(sheet_xml(book, tmp_path / "b.xlsx", sheet_of(rows)))) == 2
    far = f'<row>{cell}</row><row r="1048576">{cell * 16_000}</row>'
    assert refusal(sheet_xml(book, tmp_path / "c.xlsx", sheet_of(far))).code == "sheet_too_large"


def test_one_long_text_shown_in_very_many_cells_is_refused(book, tmp_path):
    shared = '<c r="A{0}" t="s"><v>0</v></c>'
    rows = "".join(f'<row r="{i}">{shared.format(i)}</row>' for i in range(1, 20_001))

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("sheet1.xml"):
            return sheet_of(rows)
        if name.endswith("[Content_Types].xml"):
            part = b'<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-'
            part += b'officedocument.spreadsheetml.sharedStrings+xml"/>'
            return data if b"sharedStrings" in data else data.replace(b"</Types>", part + b"</Types>")
        return b"<sst><si><t>" + b"x" * 100_000 + b"</t></si></sst>" if name.endswith("sharedStrings.xml") else data

    path = with_parts(book, tmp_path / "b.xlsx", change)
    if "xl/sharedStrings.xml" not in zipfile.ZipFile(path).namelist():
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", b"<sst><si><t>" + b"x" * 100_000 + b"</t></si></sst>")
    error = refusal(path)
    assert error.code == "sheet_too_large"
    assert error.sentence.startswith("b.xlsx holds more than 512 MB of text once its repeated texts are written out.")


def test_a_document_type_is_refused(book, tmp_path):
    entity = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><worksheet'
    path = with_parts(book, tmp_path / "b.xlsx", lambda name, data: data.replace(b"<worksheet", entity))
    assert refusal(path).sentence == (
        "b.xlsx holds a document type declaration, which no Excel workbook needs and which can be used to read other "
        "files. It was not read. Save the sheet as CSV UTF-8 and upload that."
    )


def test_a_bomb_is_refused_by_its_list_of_contents(book, tmp_path):
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
        new.writestr("xl/media/image1.xml", b"\0" * (64 << 20))
    assert refusal(path).sentence == (
        "bomb.xlsx unpacks to more than 200 times its size, so it was not read. "
        "Save the sheet as CSV UTF-8 and upload that."
    )


def test_a_workbook_of_gigabytes_is_refused_without_unpacking(book, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "MAX_UNPACKED", 1 << 20)
    monkeypatch.setattr(guard, "_look_at", lambda *_: pytest.fail("it was unpacked"))
    path = with_parts(book, tmp_path / "b.xlsx", lambda name, data: data + b" " * (1 << 19))
    assert refusal(path).sentence == (
        "b.xlsx unpacks to more than 1 MB, so it was not read. Save the sheet as CSV UTF-8 and upload that."
    )


def test_a_list_of_contents_that_lies_about_a_size_is_found_out(book, tmp_path):
    path = tmp_path / "b.xlsx"
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))
        new.writestr("xl/extra.xml", b" " * (40 << 20))
    data = bytearray(path.read_bytes())
    size = struct.pack("<I", 40 << 20)
    at = data.rfind(size)
    data[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "damaged" in refusal(path).sentence


def test_a_protected_workbook_says_how_to_remove_the_password(tmp_path):
    path = tmp_path / "secret.xlsx"
    inside = b"".join(name.encode("utf-16-le").ljust(64, b"\0") for name in ("EncryptionInfo", "EncryptedPackage"))
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1016 + inside)
    assert refusal(path).sentence == (
        "secret.xlsx is protected by a password. Open it in Excel, remove the password under “File, Info, Protect "
        "Workbook”, save it and upload that."
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "a.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512 + "Workbook".encode("utf-16-le"),
            "a.xls is an old Excel workbook (.xls), which cannot be read here. Open it in Excel and save it as .xlsx.",
        ),
        (
            "a.xlsb",
            b"PK\x03\x04" + b"\0" * 30 + b"xl/workbook.bin",
            "a.xlsb is a binary Excel workbook (.xlsb), which cannot be read here. Open it in Excel and save it as .xlsx.",
        ),
        (
            "a.ods",
            b"PK\x03\x04" + b"\0" * 26 + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            "a.ods is an OpenDocument sheet (.ods), which cannot be read here. Open it and save it as .xlsx.",
        ),
    ],
)
def test_another_kind_of_workbook_says_what_to_save_it_as(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).sentence == sentence


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_workbook_cut_short_is_called_damaged(book, keep):
    data = book.read_bytes()
    book.write_bytes(data[: int(len(data) * keep)])
    assert refusal(book).sentence == (
        "letters.xlsx is an Excel workbook that is damaged or cut short. "
        "Open it in Excel, save it again and upload that."
    )


def test_a_workbook_with_a_header_only_says_so(tmp_path):
    error = refusal(workbook(tmp_path / "a.xlsx", {"S": [["text", "label"]]}))
    assert (error.code, error.sentence) == (
        "header_only",
        "a.xlsx has a header (text, label) and no rows below it. Add one example per row.",
    )
    assert (error.place.sheet, error.place.row) == ("S", 1)


def test_a_workbook_without_cells_says_so(tmp_path):
    error = refusal(workbook(tmp_path / "a.xlsx", {"S": [], "T": []}))
    assert (error.code, error.sentence) == (
        "empty_file",
        "a.xlsx has no sheet with cells in it. Choose a workbook with one example per row.",
    )
