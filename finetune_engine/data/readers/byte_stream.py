"""Opening a file as a stream of UTF-8 bytes, whatever it was written in."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, cast

from charset_normalizer import from_bytes

from finetune_engine.errors import Place, UserError

BLOCK = 1 << 20
_SAMPLE_LIMIT = 256 * 1024
_BOMB_FLOOR = 1 << 26
_BOMB_RATIO = 200
_MOST_UNPACKED = 1 << 34
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass
class ByteSource:
    """A file and how to read it. ``consumed`` counts bytes on disk, for progress."""

    path: Path
    gzipped: bool
    encoding: str = "utf-8"
    consumed: int = field(default=0, compare=False)
    name: str | None = None

    @property
    def shown(self) -> str:
        """The name a person knows the file by."""
        return self.name or self.path.name

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    def raw_blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """The unpacked bytes, block by block. UserError for a damaged or explosive archive."""
        self.consumed = 0
        with self.path.open("rb") as disk:
            stream: IO[bytes] = cast(IO[bytes], gzip.GzipFile(fileobj=disk)) if self.gzipped else disk
            unpacked = 0
            while block := self._read(stream, size):
                unpacked += len(block)
                self.consumed = disk.tell()
                if self.gzipped:
                    self._check_ratio(unpacked)
                yield block

    def _check_ratio(self, unpacked: int) -> None:
        """Refuse an archive that unpacks to far more than texts do, or to more than anybody means."""
        explosive = unpacked > _BOMB_FLOOR and unpacked > _BOMB_RATIO * max(self.consumed, 1)
        if not explosive and unpacked <= _MOST_UNPACKED:
            return
        much = f"{_BOMB_RATIO} times its size" if explosive else f"{_MOST_UNPACKED >> 30} GB"
        raise UserError(
            "unsupported_file",
            f"{self.shown} unpacks to more than {much}, so it was not read. "
            "Unpack it yourself and upload the file inside.",
            place=Place(file=self.shown, found=f"more than {much} inside"),
        )

    def _read(self, stream: IO[bytes], size: int) -> bytes:
        try:
            return stream.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(
                "unsupported_file",
                f"{self.shown} is a gzip file that is damaged or cut short. Make it again or upload the file inside.",
                place=Place(file=self.shown),
            ) from error

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """The content as UTF-8 bytes without a byte-order mark; bytes that are wrong in UTF-8 files pass as they are."""
        if self.encoding in ("utf-8", "utf-8-sig"):
            first = True
            for block in self.raw_blocks(size):
                yield block.removeprefix(codecs.BOM_UTF8) if first else block
                first = False
            return
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        first = True
        for block in self.raw_blocks(size):
            text = decoder.decode(block)
            yield (text.removeprefix("\ufeff") if first else text).encode("utf-8", "replace")
            first = False
        if tail := decoder.decode(b"", final=True):
            yield tail.encode("utf-8", "replace")


def open_source(path: Path, *, name: str | None = None, scan_bytes: int | None = None) -> ByteSource:
    """The file with its packing and encoding found out.

    ``scan_bytes`` limits how much is looked at for the encoding (None: all of it). UserError ``empty_file`` or
    ``encoding``.
    """
    shown = name or path.name
    with path.open("rb") as disk:
        head = disk.read(4)
    source = ByteSource(path, gzipped=head[:2] == b"\x1f\x8b", name=shown)
    start = next(source.raw_blocks(BLOCK), b"")
    for mark, encoding in _BOMS:
        if start.startswith(mark):
            source.encoding = encoding
            start = start[len(mark) :]
            break
    else:
        source.encoding = _wide(start) or _scan(source, shown, scan_bytes)
    if not start.strip() and not any(block.strip() for block in islice(source.raw_blocks(), 1, None)):
        raise UserError(
            "empty_file",
            f"{shown} is empty. Choose a file with one example per row.",
            place=Place(file=shown, found="nothing", expected="at least one example"),
        )
    return source


def _wide(start: bytes) -> str | None:
    """UTF-16 without a byte-order mark: every second byte of Latin text is zero."""
    head = start[:4096]
    if len(head) < 4:
        return None
    half = len(head) / 2
    if head[1::2].count(0) > 0.6 * half and head[0::2].count(0) < 0.1 * half:
        return "utf-16-le"
    if head[0::2].count(0) > 0.6 * half and head[1::2].count(0) < 0.1 * half:
        return "utf-16-be"
    return None


def _scan(source: ByteSource, shown: str, limit: int | None) -> str:
    """UTF-8 unless most lines beyond ASCII say otherwise."""
    good, bad, seen = 0, 0, 0
    sample: list[bytes] = []
    rest = b""
    for block in source.raw_blocks():
        seen += len(block)
        head, newline, tail = block.rpartition(b"\n")
        whole, rest = (rest + head + newline, tail) if newline else (b"", (rest + block)[-(16 * BLOCK) :])
        ok, wrong = _count_lines(whole, sample)
        good, bad = good + ok, bad + wrong
        if limit is not None and seen >= limit:
            rest = b""
            break
    ok, wrong = _count_lines(rest, sample)
    good, bad = good + ok, bad + wrong
    if bad == 0 or good >= bad:
        return "utf-8"
    return guess_encoding(b"\n".join(sample), shown)


def _count_lines(data: bytes, sample: list[bytes]) -> tuple[int, int]:
    """Lines beyond ASCII that are right and wrong as UTF-8; the wrong ones are sampled."""
    if data.isascii():
        return 0, 0
    good = bad = 0
    for line in data.split(b"\n"):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad += 1
            if len(sample) < 2000 and sum(map(len, sample)) < _SAMPLE_LIMIT:
                sample.append(line[:65536])
    return good, bad


def guess_encoding(sample: bytes, shown: str) -> str:
    """The likely encoding of bytes that are not UTF-8. UserError ``encoding`` when none fits."""
    if _isolated_high_bytes(sample) > 0.75:
        try:
            sample.decode("cp1252")
            return "cp1252"
        except UnicodeDecodeError:
            return "latin-1"
    best = from_bytes(sample, threshold=0.3).best()
    if best is None or best.encoding is None:
        raise UserError(
            "encoding",
            f"The characters of {shown} could not be read: it is not UTF-8, UTF-16 or another encoding we recognise. "
            "Save it again as UTF-8 (in Excel: “CSV UTF-8”).",
            place=Place(file=shown, found="an unknown encoding", expected="UTF-8", fix="Save the file as UTF-8."),
        )
    return best.encoding


def _isolated_high_bytes(sample: bytes) -> float:
    """The share of bytes above 127 that stand alone, as accented letters in Western text do."""
    flags = [byte > 127 for byte in sample]
    total = sum(flags)
    if not total:
        return 0.0
    padded = [False, *flags, False]
    alone = sum(1 for i in range(1, len(padded) - 1) if padded[i] and not padded[i - 1] and not padded[i + 1])
    return alone / total
