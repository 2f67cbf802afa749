"""What else happens beside training: one file each, all behind the contract in ``callback``."""
