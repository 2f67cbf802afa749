"""Where a training is carried out: here, or at a provider."""
