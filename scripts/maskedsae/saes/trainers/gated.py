"""A gate decides whether a latent is active, and a magnitude of its own how much; L1 is on the gates alone."""

from dictionary_learning.trainers.gdm import GatedSAETrainer

from .base import TrainerKind, encoded

KIND = TrainerKind(GatedSAETrainer, None, encoded)
