"""Answering requests with a model: the wire format, the backends, the caches."""
