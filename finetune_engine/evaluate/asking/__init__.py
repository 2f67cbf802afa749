"""How a model is asked: in this process, or behind an address; and where its answers are kept."""
