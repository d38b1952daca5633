"""Masked-token training of sparse autoencoders: tokens -> streams -> SAEs -> scores.

Knows nothing of Snakemake; every function can be called from a notebook.
"""
