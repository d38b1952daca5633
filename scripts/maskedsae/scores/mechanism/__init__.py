"""Whether masking takes apart what occurs together, letter by letter: docs/robustness.md."""
