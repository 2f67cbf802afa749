"""Where answers come from: this process, or another endpoint."""
