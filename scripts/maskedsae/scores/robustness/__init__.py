"""What an SAE makes of text that no SAE was trained on, and of properties that each token has: docs/robustness.md."""
