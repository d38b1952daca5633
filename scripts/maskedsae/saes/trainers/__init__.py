"""dictionary_learning's trainers, one kind per file: base.py says what a kind is."""
