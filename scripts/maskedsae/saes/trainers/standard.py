"""ReLU and an L1 penalty: l0 is what the penalty leaves."""

from dictionary_learning.trainers.standard import StandardTrainer

from .base import TrainerKind, encoded

KIND = TrainerKind(StandardTrainer, None, encoded)
