"""Trainers, one kind per file: base.py says what a kind is."""
