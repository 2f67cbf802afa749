"""Training at a provider that speaks OpenAI's fine-tuning protocol. Free of torch: the worker needs no training libraries."""
