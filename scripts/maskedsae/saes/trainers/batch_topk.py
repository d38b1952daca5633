"""The k largest latents of a batch, on average over its tokens."""

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer

from .base import TrainerKind, top_k_features

KIND = TrainerKind(BatchTopKTrainer, "k", top_k_features)
