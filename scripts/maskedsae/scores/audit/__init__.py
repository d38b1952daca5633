"""Seven questions to each SAE, from what its training and its probes have written."""
