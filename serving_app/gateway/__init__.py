"""The hot path in the web process: a question from its first byte to its line in the log (`docs/serving.md`)."""
