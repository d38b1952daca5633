"""The demo's world: real text from a dependency, and small language models trained on it."""
