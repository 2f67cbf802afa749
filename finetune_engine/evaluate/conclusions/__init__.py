"""From what was seen to what is said: acceptance, slices, clusters, the overall score and the verdict."""
