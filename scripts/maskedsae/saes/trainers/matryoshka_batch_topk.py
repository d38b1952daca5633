"""The paper's trainer: nested dictionaries, the k largest latents of a batch."""

from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

from .base import Form, TrainerKind, top_k_features

FORM = Form(
    *("W_enc", "b_enc", "W_dec"),
    encoder_has_rows=False,
    each_row=False,
    rounds_latents=False,
    median=MatryoshkaBatchTopKTrainer.geometric_median,
)
KIND = TrainerKind(MatryoshkaBatchTopKTrainer, "k", top_k_features, FORM)
