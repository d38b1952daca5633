"""ReLU and an Lp penalty whose p falls from 1, and whose weight is kept in proportion as it does."""

from dictionary_learning.trainers.p_anneal import PAnnealTrainer

from .base import TrainerKind, encoded

STATE = ("p", "next_p", "p_step_count", "sparsity_coeff", "sparsity_queue")
KIND = TrainerKind(PAnnealTrainer, None, encoded, state=STATE)
