"""The list of bad input: each kind gets one exact sentence, in bounded time and memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetune_engine.data.detection import detect_format
from finetune_engine.data.readers import open_records
from finetune_engine.errors import UserError

HEADER = "text,label\n"
CHAT = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def tool_row(arguments: str) -> str:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    return json.dumps({"messages": turns})


FILES = [
    ("empty.jsonl", b"", "empty_file", "empty.jsonl is empty. Choose a file with one example per row."),
    ("blank.csv", b"\n \n\n", "empty_file", "blank.csv is empty. Choose a file with one example per row."),
    ("bom.csv", b"\xef\xbb\xbf", "empty_file", "bom.csv is empty. Choose a file with one example per row."),
    ("wide.csv", b"\xff\xfe", "empty_file", "wide.csv is empty. Choose a file with one example per row."),
    (
        "header.csv",
        HEADER.encode(),
        "header_only",
        "header.csv has a header (text, label) and no rows below it. Add one example per row.",
    ),
    (
        "zeros.csv",
        b"\0" * 5000,
        "unsupported_file",
        "zeros.csv does not hold text, so it cannot be read. Choose a file with text.",
    ),
    (
        "bomb.jsonl.gz",
        gzip.compress(b"0" * (80 << 20)),
        "unsupported_file",
        "bomb.jsonl.gz unpacks to more than 200 times its size, so it was not read. "
        "Unpack it yourself and upload the file inside.",
    ),
    (
        "cut.csv.gz",
        gzip.compress(HEADER.encode() * 500, mtime=0)[:40],
        "unsupported_file",
        "cut.csv.gz is a gzip file that is damaged or cut short. Make it again or upload the file inside.",
    ),
    (
        "twice.gz",
        gzip.compress(gzip.compress(b"text,label\na,b\n")),
        "unsupported_file",
        "twice.gz is a gzip archive inside a gzip archive, which cannot be read here. "
        "Unpack it and upload the file inside.",
    ),
    (
        "some.zip",
        b"PK\x03\x04" + b"\0" * 26 + b"letters.csv",
        "unsupported_file",
        "some.zip is a zip archive, which cannot be read here. Unpack it and upload the file inside.",
    ),
    (
        "a.pdf",
        b"%PDF-1.7\n",
        "unsupported_file",
        "a.pdf is a PDF, which cannot be read here. Copy its examples into a table and save that as .xlsx or CSV UTF-8.",
    ),
    (
        "model.safetensors",
        (64).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}}' + b"\0" * 100,
        "unsupported_file",
        "model.safetensors is the weights of a model (safetensors), which cannot be read here. "
        "Choose a file with examples.",
    ),
    (
        "story.txt",
        b"Once upon a time, there was, they say, a fox.\n\nIt ran.\nAnd ran, and ran, and ran.\n",
        "unsupported_file",
        "story.txt is running text, not a list of examples. Put one example per row in a table with the columns prompt "
        "and completion, or text and label.",
    ),
]


@pytest.mark.parametrize(("name", "content", "code", "sentence"), FILES, ids=[f[0] for f in FILES])
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, code, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        list(open_records(path).records())
    assert (refused.value.code, refused.value.sentence, refused.value.place.file) == (code, sentence, name)


ROWS = [
    (
        "nul.jsonl",
        b'{"text": "a\0b", "label": "c"}',
        "nul_byte",
        "Row 1 has an empty (NUL) character at column 12. Remove it; it often comes from a broken export.",
    ),
    (
        "nul.csv",
        (HEADER + "a\0b,c\n").encode(),
        "nul_byte",
        "Row 1 (line 2 of the file) has an empty (NUL) character at column 2. "
        "Remove it; it often comes from a broken export.",
    ),
    (
        "surrogate.jsonl",
        b'{"text": "a\\ud800b", "label": "c"}',
        "encoding",
        "Row 1 is not valid JSON: found half of a two-part character (a lone \\ud800\u2013\\udfff) at column 12 where a "
        "whole character was expected. Mend the line or remove it.",
    ),
    (
        "surrogate.json",
        b'[\n {"text": "a\\ud800b", "label": "c"}\n]',
        "encoding",
        "Row 1 (line 2 of the file) is not valid JSON: found half of a two-part character (a lone \\ud800\u2013\\udfff) at "
        "line 2, column 13 where a whole character was expected. Mend the line or remove it.",
    ),
    (
        "latin.jsonl",
        ('{"text": "é", "label": "c"}\n' * 5).encode() + b'{"text": "d\xe9j\xe0", "label": "c"}',
        "encoding",
        "Row 6 has characters that are not UTF-8 (byte 12). Save the file as UTF-8 or mend the row.",
    ),
    (
        "deep.jsonl",
        b'{"a": ' * 100_000 + b"1" + b"}" * 100_000,
        "invalid_json",
        "Row 1 is not valid JSON: found more than 1,000 brackets inside one another at column 6146 where a flat object "
        "was expected. Mend the line or remove it.",
    ),
    (
        "deep.json",
        b"[" * 100_000 + b"]" * 100_000,
        "invalid_json",
        "Row 1 is not valid JSON: found more than 1,000 brackets inside one another at line 1, column 2 where a flat "
        "object was expected. Mend the line or remove it.",
    ),
    (
        "twice.jsonl",
        b'{"text": "a", "text": "b", "label": "c"}',
        "duplicate_key",
        "Row 1 has the name “text” twice; the last value was kept. Remove one of the two.",
    ),
    (
        "twice.json",
        b'[{"text": "a", "text": "b", "label": "c"}]',
        "duplicate_key",
        "Row 1 has the name “text” twice; the last value was kept. Remove one of the two.",
    ),
    (
        "nan.jsonl",
        b'{"text": "a", "label": NaN}',
        "invalid_json",
        "Row 1 is not valid JSON: found NaN at column 24 where a number, a text or null was expected. "
        "Mend the line or remove it.",
    ),
    (
        "infinity.json",
        b'[\n{"text": "a", "label": -Infinity}]',
        "invalid_json",
        "Row 1 (line 2 of the file) is not valid JSON: found -Infinity at line 2, column 24 where a number, a text or "
        "null was expected. Mend the line or remove it.",
    ),
    (
        "comma.jsonl",
        b'{"text": "a", "label": "b"}\n{"text": "a", "label": "b",}',
        "invalid_json",
        "Row 2 is not valid JSON: found a comma before “}” at column 27 where no comma before the closing bracket was "
        "expected. Mend the line or remove it.",
    ),
    (
        "comma.json",
        b'[\n  {"text": "a", "label": "b"},\n  {"text": "a", "label": "b",}\n]',
        "invalid_json",
        "Row 2 (line 3 of the file) is not valid JSON: found a comma before “}” at line 3, column 29 where no comma "
        "before the closing bracket was expected. Mend the line or remove it.",
    ),
    (
        "end.json",
        b'[\n  {"text": "a", "label": "b"},\n]',
        "trailing_comma",
        "Row 1 (line 2 of the file) is followed by a comma and then the list ends. The comma was passed over.",
    ),
    (
        "text.jsonl",
        b'{"text": "a", "label": "b"}\n"hello"',
        "data_type",
        'Row 2 is a text, not an object with named fields. Write it as {"name": value, ...}.',
    ),
    (
        "number.json",
        b'[{"text": "a", "label": "b"}, 7]',
        "data_type",
        'Row 2 (line 1 of the file) is a number, not an object with named fields. Write it as {"name": value, ...}.',
    ),
    (
        "role.jsonl",
        CHAT.replace('"user"', '"human"').encode(),
        "unrecognized_role",
        "Row 1 has the role “human” in messages[0]. Use one of system, developer, user, assistant, tool, function.",
    ),
    (
        "user.jsonl",
        CHAT.replace("}]}", '}, {"role": "user", "content": "c"}]}').encode(),
        "last_not_assistant",
        "Row 1 ends with a message by the user; the last message must be the assistant's answer. "
        "Add the answer, or remove what comes after the last one.",
    ),
    (
        "tool.jsonl",
        tool_row("{oops").encode(),
        "tool_arguments_invalid",
        "Row 1 has tool arguments in messages[1].tool_calls that are not valid JSON. "
        "Correct the arguments, or remove the row.",
    ),
    (
        "call.json",
        b'[{"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{oops"}]}]',
        "tool_arguments_invalid",
        "Row 1 has a tool call in conversations[1].value that is not valid JSON. Correct the call, or remove the row.",
    ),
    (
        "ragged.csv",
        (HEADER + "a,b,c\n").encode(),
        "ragged_row",
        "Row 1 (line 2 of the file) has 3 cells where the header has 2. "
        "Put text that contains a comma in double quotes.",
    ),
    (
        "short.tsv",
        b"text\tlabel\na\tb\nc\n",
        "ragged_row",
        "Row 2 (line 3 of the file) has 1 cell where the header has 2. "
        "Add the missing cells, or close the quote that swallowed them.",
    ),
    (
        "quote.csv",
        (HEADER + 'a,b\n"never closed,c\nd,e\n').encode(),
        "unclosed_quote",
        "Row 2 (line 3 of the file) opens a quote that is never closed. Close it or remove it.",
    ),
]


@pytest.mark.parametrize(("name", "content", "code", "sentence"), ROWS, ids=[row[0] for row in ROWS])
def test_a_bad_row_says_what_is_wrong(tmp_path, name, content, code, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    records = list(open_records(path).records())
    detected = detect_format(records, name=name)
    found = []
    for record in records:
        findings = list(record.findings)
        if record.value and detected is not None:
            findings += detected.convert(record.value).findings
        found += [(f.code, f.placed(record.row, record.line, record.sheet).message) for f in findings]
    assert found == [(code, sentence)]


@pytest.mark.parametrize(
    ("encoding", "shown", "text"),
    [("latin-1", "cp1252", "déjà vu à Köln"), ("shift_jis", "cp932", "これは日本語の文章です")],
)
def test_another_encoding_is_found_out_and_named(tmp_path, encoding, shown, text):
    path = tmp_path / "a.jsonl"
    path.write_bytes("\n".join(f'{{"text": "{text} {i}", "label": "x"}}' for i in range(20)).encode(encoding))
    opened = open_records(path)
    assert opened.bytes.encoding == shown
    assert next(opened.records()).value == {"text": f"{text} 0", "label": "x"}


def test_a_header_with_a_name_twice_is_numbered(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,text,,label\na,b,c,d\n")
    opened = open_records(path)
    assert opened.layout is not None
    assert (opened.layout.columns, opened.layout.repeated) == (("text", "text 2", "column 3", "label"), ("text",))


@pytest.mark.parametrize("name", ["deep.jsonl", "deep.json"])
@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'{"a":['])
def test_a_hundred_thousand_levels_take_no_time(tmp_path, name, unit):
    path = tmp_path / name
    path.write_bytes(unit * 100_000)
    begun = time.monotonic()
    assert all(record.findings for record in open_records(path).records())
    assert time.monotonic() - begun < 2


_MEASURED = """
import resource, sys
from pathlib import Path
from finetune_engine.data.readers import open_records
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for record in open_records(Path(sys.argv[1])).records():
    for finding in record.findings:
        print(finding.placed(record.row, record.line).message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def huge(path: Path, before: bytes, after: bytes) -> Path:
    """A file with 200 MB of text between ``before`` and ``after``, written piece by piece."""
    with path.open("wb") as file:
        file.write(before)
        for _ in range(200):
            file.write(b"x" * 1_000_000)
        file.write(after)
    return path


@pytest.mark.parametrize(
    ("name", "before", "after", "sentence"),
    [
        ("a.jsonl", b'{"text": "', b'", "label": "x"}\n{"text": "a", "label": "b"}\n', "Row 1 is 200.0 MB long"),
        ("a.json", b'[{"text": "', b'", "label": "x"}, {"text": "a", "label": "b"}]', "Row 1 is 200.0 MB long"),
        ("o.json", b'{"text": "', b'", "label": "x"}', "Row 1 is 200.0 MB long"),
        ("a.csv", b'text,label\na,b\n"', b'",c\nd,e\n', "Row 2 (line 3 of the file) is 200.0 MB long"),
    ],
)
def test_a_line_of_200_mb_is_passed_over_in_little_memory(tmp_path, name, before, after, sentence):
    path = huge(tmp_path / name, before, after)
    done = subprocess.run([sys.executable, "-c", _MEASURED, str(path)], capture_output=True, text=True, check=True)
    path.unlink()
    *sentences, grown = done.stdout.splitlines()
    assert sentences[0] == f"{sentence}; the most a row may have is 16.8 MB. Split it or remove it."
    assert len(sentences) == 1
    assert int(grown) < 200


@pytest.mark.parametrize("unit", ['{"a": [\n', '{"a": {"b": 1}\n', '{"a": "x}\n', "},", "x,", '{"a": "\\ud800"},\n'])
@pytest.mark.parametrize("head", ["[\n", '{"train": [["a", "b"],'])
def test_mistakes_in_every_row_of_a_list_take_time_in_proportion(tmp_path, head, unit):
    path = tmp_path / "a.json"
    path.write_text(head + unit * (60_000 // len(unit)))
    begun = time.monotonic()
    assert sum(1 for _ in open_records(path).records()) > 0
    assert time.monotonic() - begun < 15  # looking through the rest of the file at each of them takes minutes


def test_a_stray_word_in_a_list_costs_only_itself(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"text": "a", "label": "b"}, oops, }, {"text": "c", "label": "d"}]')
    records = list(open_records(path).records())
    assert [record.value is None for record in records] == [False, True, True, False]
    assert records[1].findings[0].placed(2).message == (
        "Row 2 is not valid JSON: found “oops” at line 1, column 31 where a value was expected. "
        "Mend the line or remove it."
    )
