"""A trained model, or the event files of its training, as one file to download."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterable
from datetime import datetime
from typing import IO, cast

from django.core.files.storage import default_storage

from jobs_app.models import TrainedModel
from jobs_app.operations.checkpoint_models import ONLY_FOR_TRAINING
from jobs_app.queries.trainings import refuse_without_files
from work_kit.files import MANIFEST, read_manifest

TENSORBOARD = "tensorboard/"


def zip_of_model(model: TrainedModel) -> IO[bytes]:
    """A readable zip with the model's files and their manifest, on disk and not in memory; gone when closed.

    Of a model made of a checkpoint what only training needs is left out, and so is it in the manifest.
    """
    refuse_without_files(model.remote_name)
    manifest = read_manifest(model.storage_prefix)
    if model.checkpoint_step is None:
        return _zipped(model, [*manifest["files"], MANIFEST], folder="model")
    kept = {name: entry for name, entry in manifest["files"].items() if name not in ONLY_FOR_TRAINING}
    content = json.dumps(manifest | {"files": kept}, indent=1)
    return _zipped(model, kept, folder="model", texts={MANIFEST: content})


def zip_of_tensorboard(model: TrainedModel) -> IO[bytes] | None:
    """The event files that TensorBoard reads; None when the training wrote none."""
    refuse_without_files(model.remote_name)
    names = [name for name in read_manifest(model.storage_prefix)["files"] if name.startswith(TENSORBOARD)]
    return _zipped(model, names, folder="tensorboard", without=TENSORBOARD) if names else None


def _zipped(
    model: TrainedModel, names: Iterable[str], *, folder: str, without: str = "", texts: dict[str, str] | None = None
) -> IO[bytes]:
    """These stored files in a folder of the archive, their names less the prefix ``without``, and further texts."""
    target = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # weights do not shrink
        for name in names:
            info = _entry(folder, name.removeprefix(without), model.created_at)
            with (
                default_storage.open(f"{model.storage_prefix}/{name}", "rb") as source,
                archive.open(info, "w", force_zip64=True) as entry,
            ):
                while chunk := source.read(1 << 20):
                    entry.write(chunk)
        for name, text in (texts or {}).items():
            archive.writestr(_entry(folder, name, model.created_at), text)
    target.seek(0)
    return cast(IO[bytes], target)


def _entry(folder: str, name: str, at: datetime) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{folder}/{name}", date_time=at.timetuple()[:6])
