"""Training steps of our own, which do dictionary_learning's arithmetic in less time (docs/steps.md)."""
