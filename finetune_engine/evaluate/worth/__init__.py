"""What a model is worth to the house that uses it: key figures and the return on what it cost."""
