"""The k largest latents of each token: no token can leave latents to another."""

from dictionary_learning.trainers.top_k import TopKTrainer, geometric_median

from .base import TrainerKind, of_linear_layers, top_k_features

KIND = TrainerKind(TopKTrainer, "k", top_k_features, of_linear_layers(each_row=True, median=geometric_median))
