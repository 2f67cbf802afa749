"""One file for each metric of answers; ``metric.py`` is their contract, ``chosen.py`` the list of them."""
