"""The k largest latents of a batch, on average over its tokens."""

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer

from .base import TrainerKind, of_linear_layers, top_k_features

FORM = of_linear_layers(each_row=False, median=BatchTopKTrainer.geometric_median)
KIND = TrainerKind(BatchTopKTrainer, "k", top_k_features, FORM)
