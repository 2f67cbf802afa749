"""The file of an evaluation's single answers, wherever it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.files.storage import default_storage
from django.utils.translation import gettext as _

from evaluation_app.models import Evaluation
from finetune_engine.errors import UserError
from work_kit.files import fetch_to

if TYPE_CHECKING:
    import polars as pl


def samples_path(evaluation: Evaluation) -> Path:
    """``samples.parquet`` of a finished evaluation on this machine's disk; fetched when it lies in object storage.

    The name in storage is part of the copy's name: another attempt's file is another copy.
    """
    try:
        return Path(default_storage.path(evaluation.samples_name))
    except NotImplementedError:
        folder = Path(settings.CACHE_DIR) / "evaluations"
        path = folder / evaluation.samples_name.replace("/", "-")
        return path if path.is_file() else fetch_to(path, evaluation.samples_name)


def kept_frame(evaluation: Evaluation) -> pl.LazyFrame | None:
    """The answers as ``samples_frame`` gives them; None also when the file was taken out of the storage."""
    try:
        return samples_frame(evaluation)
    except UserError as error:
        if error.code != "samples_gone":
            raise
        return None


def samples_frame(evaluation: Evaluation) -> pl.LazyFrame | None:
    """The answers, one row per case and a few columns per model; None when the evaluation has none. Raises UserError (410)
    when the file was taken out of the storage."""
    if not evaluation.samples_name:
        return None
    import polars as pl

    path = samples_path(evaluation)
    if not path.is_file():
        sentence = _("The single answers of this evaluation are no longer in the storage. Run it again to have them.")
        raise UserError("samples_gone", sentence, status=410)
    return pl.scan_parquet(path)
