"""Changes to a prompt that leave its meaning alone, and attacks on it: one file for each family.

A family of changes is one module here with a tuple ``PERTURBATIONS``; ``registry.py`` finds it by itself.
``perturbation.py`` has the contract, ``typos.py`` the shortest full example.
"""
