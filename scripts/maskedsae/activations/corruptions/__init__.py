"""What is done to a context of tokens, one kind per file: base.py says what a kind is, mask.py is the paper's."""
