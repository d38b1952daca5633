"""Probing out of distribution, by the protocol of Kantamneni et al. (arXiv 2502.16681): docs/ood.md."""
