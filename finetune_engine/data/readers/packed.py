"""Workbooks and Parquet files that came gzipped: they must lie unpacked on disk, because they are read from the end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from finetune_engine.data.readers.byte_stream import ByteSource
from finetune_engine.errors import Place, UserError

HEAD = 4096
_MOST = 1 << 30


class Unpacked:
    """A file unpacked into a folder of its own, which goes when this object goes."""

    def __init__(self, source: ByteSource) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="unpacked-")
        self.path = Path(self._folder.name) / "file"
        written = 0
        with self.path.open("wb") as disk:
            for block in source.raw_blocks():
                written += len(block)
                if written > _MOST:
                    raise UserError(
                        "unsupported_file",
                        f"{source.shown} unpacks to more than {_MOST >> 30} GB, so it was not read. "
                        "Unpack it yourself and upload the file inside.",
                        place=Place(file=source.shown),
                    )
                disk.write(block)


def first_bytes(source: ByteSource) -> bytes:
    """The first bytes of a file, unpacked. UserError for a damaged archive."""
    return next(source.raw_blocks(HEAD), b"")
