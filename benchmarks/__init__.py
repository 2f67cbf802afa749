"""Programs that measure, each as a ratio to a named floor or peer in the same run."""
