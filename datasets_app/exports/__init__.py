"""A snapshot as a file in any format: what there is, what each can hold, and the bytes.

A row that a format cannot hold is never bent to fit: the download is refused with a sentence that says which format
can hold it.
"""

from datasets_app.exports.catalogue import EXPORTS, Export, Exported, export_file, exports_of

__all__ = ["EXPORTS", "Export", "Exported", "export_file", "exports_of"]
