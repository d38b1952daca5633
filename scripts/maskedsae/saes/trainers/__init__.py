"""dictionary_learning's trainers, one kind a file: base.py says what a kind is."""
