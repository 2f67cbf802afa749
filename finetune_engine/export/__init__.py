"""Models as folders that run elsewhere: merged, as an adapter, or as GGUF, compared with the model as it is served."""
