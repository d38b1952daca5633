"""The paper's trainer: nested dictionaries, the k largest latents of a batch."""

from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

from .base import TrainerKind, top_k_features

KIND = TrainerKind(MatryoshkaBatchTopKTrainer, "k", top_k_features)
