"""The base models a person can choose, and what is known about each."""
