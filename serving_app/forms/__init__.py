"""The forms of this app's pages, a file for each page."""
