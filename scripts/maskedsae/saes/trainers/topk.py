"""The k largest latents of each token: no token can leave latents to another."""

from dictionary_learning.trainers.top_k import TopKTrainer

from .base import TrainerKind, top_k_features

KIND = TrainerKind(TopKTrainer, "k", top_k_features)
