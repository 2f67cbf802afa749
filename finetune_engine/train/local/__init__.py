"""Training on this machine's own devices."""
