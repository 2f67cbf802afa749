"""Reading a person's file as a stream of records, and a quick look at it for the upload page."""

from __future__ import annotations

from finetune_engine.data.readers.preview import Preview, sniff
from finetune_engine.data.readers.source import RecordSource, open_records

__all__ = ["Preview", "RecordSource", "open_records", "sniff"]
