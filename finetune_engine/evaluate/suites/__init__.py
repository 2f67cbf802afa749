"""The suites of an evaluation: one file for each, all with the shape of ``suite.Suite``."""
