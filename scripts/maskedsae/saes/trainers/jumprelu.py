"""A threshold for each latent, learned; l0 is a target that the loss aims at."""

from dictionary_learning.trainers.jumprelu import JumpReluTrainer

from .base import TrainerKind

KIND = TrainerKind(JumpReluTrainer, "target_l0", lambda trainer, x: trainer.ae.encode(x))
