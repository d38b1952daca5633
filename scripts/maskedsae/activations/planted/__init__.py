"""Activations whose features are known, because they were planted."""
