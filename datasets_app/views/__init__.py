"""The data pages."""
