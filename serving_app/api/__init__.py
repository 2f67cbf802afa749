"""The JSON twins of the pages about using a model; one router to a file."""
