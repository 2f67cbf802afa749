"""Training: from a spec to a committed artefact."""
