"""Blind review by people, and by a judging model beside them."""
