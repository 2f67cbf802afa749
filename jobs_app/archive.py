"""A trained model as one file to download."""

from __future__ import annotations

import tempfile
import zipfile
from typing import IO, cast

from django.core.files.storage import default_storage

from jobs_app.models import TrainedModel
from work_kit.files import MANIFEST, read_manifest


def zip_of_model(model: TrainedModel) -> IO[bytes]:
    """A readable zip with the model's files and their manifest, on disk and not in memory; gone when closed."""
    names = [*read_manifest(model.storage_prefix)["files"], MANIFEST]
    target = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # weights do not shrink
        for name in names:
            info = zipfile.ZipInfo(f"model/{name}", date_time=model.created_at.timetuple()[:6])
            with (
                default_storage.open(f"{model.storage_prefix}/{name}", "rb") as source,
                archive.open(info, "w", force_zip64=True) as entry,
            ):
                while chunk := source.read(1 << 20):
                    entry.write(chunk)
    target.seek(0)
    return cast(IO[bytes], target)
