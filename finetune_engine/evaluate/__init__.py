"""How good a model is: answers, scores with intervals, baselines, and a plain verdict."""
