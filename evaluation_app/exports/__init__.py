"""The report of an evaluation as files: JSON, CSV, a page to print, PDF, and the model card."""
