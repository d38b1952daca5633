"""Our training of several SAEs beside SAELens' multi-SAE trainer: the steps alone, and the whole job.

    make demo
    HF_HUB_OFFLINE=1 .venv/bin/python benchmarks/saelens.py --repeats 3

The steps: Matryoshka BatchTopK SAEs learn from the same batches, from the same first weights, at the same constant
rate; the first step is not timed. "SAELens" is its class, brought as close to dictionary_learning's (the paper's) as
its configuration can. Equal are the groups, the choice of latents, the clipping of gradients and Adam. Not equal: its
loss is the sum over the five groups, 25 times the paper's, which clipping notices; and the rows of its decoder have any
norm (latents are chosen by activation times norm), and not 1. "SAELens, same SAE" is that class with these two as in
dictionary_learning. It trains the same SAE, which is checked in float64.

Three more differences do not act here. SAELens' decoder bias starts at 0, not at the first batch's median: here it
does in both. The running threshold, which serves later encodings only, starts at 0. Dead latents are judged before a
step and not after it, and revived by a loss that is not normalised: here none can be dead.

The job: the demo's model and text, as in benchmarks/training.py. SAELens' runner is configured as above and makes its
own activations: a HookedTransformer, a buffer of which half is renewed at a time, a mean norm of sqrt(width) and not a
mean squared norm of 1. Ours also measures the SAEs on held-out text and writes checkpoints, logs and two file formats.

One thread, one process, in turns; seconds of CPU time, and ratios of neighbouring runs.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from demo_run import training_job
from dictionary_learning.trainers.trainer import remove_gradient_parallel_to_decoder_directions as project
from dictionary_learning.trainers.trainer import set_decoder_norm_to_unit_norm as set_norms
from sae_lens import LoggingConfig, MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.multi_sae_training_runner import MultiSAETrainingRunner, MultiSAETrainingRunnerConfig
from sae_lens.training.multi_sae_trainer import MultiSAETrainer
from steps import GROUPS, LR, SHAPES, Shape, batches, trainer_of
from training import L0S, MANIFEST, MODEL_FILE, of_the_demo, ours

from maskedsae.activations.language_models import read_facts
from maskedsae.experiment.settings import train_settings
from maskedsae.saes.settings import TrainJobSettings
from maskedsae.saes.steps import fast, stock
from maskedsae.saes.trainers.base import trainer_kind
from maskedsae.scores.saebench.language_model import hooked_transformer
from maskedsae.text.tokens import Tokens

KIND = trainer_kind("matryoshka_batch_topk")
NEVER = 10**9  # steps until a silent latent is dead
STEPS = {"demo": 101, "Pythia-160M": 4}


class SameSAE(MatryoshkaBatchTopKTrainingSAE):
    """Trained as dictionary_learning trains its own."""

    def __init__(self, cfg: MatryoshkaBatchTopKTrainingSAEConfig):
        super().__init__(replace(cfg, rescale_acts_by_decoder_norm=False))  # less work, and the norms are 1
        whole = self.mse_loss_fn
        self.mse_loss_fn = lambda *pair: whole(*pair) / len(cfg.matryoshka_widths) ** 2
        self.W_dec.register_post_accumulate_grad_hook(self._project)

    def _project(self, decoder: torch.Tensor) -> None:
        project(decoder.T, decoder.grad.T, self.cfg.d_in, self.cfg.d_sae)

    def training_forward_pass(self, step_input: Any) -> Any:
        set_norms(self.W_dec.T, self.cfg.d_in, self.cfg.d_sae)  # as at the end of the step before
        return super().training_forward_pass(step_input)


def saelens_config(width: int, latents: int, l0: int, **more: Any) -> MatryoshkaBatchTopKTrainingSAEConfig:
    widths = [int(latents * sum(GROUPS[: number + 1])) for number in range(len(GROUPS))]
    return MatryoshkaBatchTopKTrainingSAEConfig(
        d_in=width, d_sae=latents, k=l0, matryoshka_widths=widths, decoder_init_norm=1.0, **more
    )


def trainers_of(shape: Shape) -> list[Any]:
    return [trainer_of("matryoshka_batch_topk", shape, l0, warmup_steps=0) for l0 in shape.l0s]


def our_steps(way: Any, trainers: list[Any], rows: Sequence[torch.Tensor]) -> Callable[[], object]:
    steps = way.steps_of(trainers, [KIND.form] * len(trainers), rows[0].dtype, "cpu")
    steps(1, rows[0])  # number 0 would set the bias
    return lambda: [steps(number, x) for number, x in enumerate(rows[1:], 2)]


def saelens_trainer(make: Any, trainers: list[Any], rows: Sequence[torch.Tensor]) -> MultiSAETrainer:
    """SAELens' own after the first step, on SAEs with the trainers' first weights."""
    batch, dtype = len(rows[0]), str(rows[0].dtype).removeprefix("torch.")
    saes = {}
    for trainer in trainers:
        ae = trainer.ae
        sae = saes[str(trainer.k)] = make(saelens_config(ae.activation_dim, ae.dict_size, trainer.k, dtype=dtype))
        sae.W_enc.data.copy_(ae.W_enc.data)
        sae.W_dec.data.copy_(ae.W_dec.data)
    config = SAETrainerConfig(batch, batch, lr=LR, lr_end=LR, dead_feature_window=NEVER)
    multi = MultiSAETrainer(config, saes, dict.fromkeys(saes, "x"), iter({"x": x} for x in rows))
    multi.fit()
    config.total_training_samples = len(rows) * batch
    return multi


def difference(shape: Shape) -> float:
    """The largest between weights of ours and SameSAE's, after the steps in float64."""
    trainers, rows = trainers_of(shape), [x.double() for x in batches(shape, STEPS[shape.name])]
    for trainer in trainers:
        trainer.ae.double()
        set_norms(trainer.ae.W_dec.T, shape.width, shape.latents)  # they were 1 in float32
    with quiet():
        theirs = saelens_trainer(SameSAE, trainers, rows)
        theirs.fit()
    our_steps(fast, trainers, rows)()
    largest = 0.0
    for trainer, sae in zip(trainers, theirs.saes.values(), strict=True):
        set_norms(sae.W_dec.T, shape.width, shape.latents)
        for name, weights in trainer.ae.named_parameters():
            largest = max(largest, (weights - getattr(sae, name)).abs().max().item())
    return largest


def run_saelens(settings: TrainJobSettings) -> None:
    """Its runner, on the job's model and text."""
    facts, training, own = read_facts(MODEL_FILE), settings.training, next(iter(settings.trainers.values()))
    tokens = Tokens.open(MANIFEST.parent)
    contexts = Dataset.from_dict({"tokens": tokens.contexts(0, tokens.n_train)})
    scaled = {"normalize_activations": "expected_average_only_in"}
    with tempfile.TemporaryDirectory() as folder:
        config = MultiSAETrainingRunnerConfig(
            saes={str(l0): saelens_config(facts.width, own.dict_size, l0, **scaled) for l0 in L0S},
            hook_names=f"blocks.{facts.layer}.hook_resid_post",
            context_size=tokens.context_length,
            prepend_bos=False,
            n_batches_in_buffer=training.shuffle_tokens // tokens.context_length,
            store_batch_size_prompts=settings.model.lm_batch,
            training_tokens=training.steps * training.batch,
            train_batch_size_tokens=training.batch,
            lr=own.settings["lr"],
            lr_warm_up_steps=own.settings["warmup_steps"],
            lr_decay_steps=training.steps - int(own.settings["decay_start"] * training.steps),
            dead_feature_window=NEVER,
            n_batches_for_norm_estimate=training.norm_batches,
            logger=LoggingConfig(log_to_wandb=False),
            checkpoint_path=None,
            output_path=folder,
        )
        MultiSAETrainingRunner(config, contexts, hooked_transformer(facts, "float32")).run()


@contextmanager
def quiet() -> Iterator[None]:
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        yield


def compare(title: str, ways: dict[str, Callable[[], Callable[[], object]]], repeats: int, warm_up: int = 0) -> None:
    """Each way is prepared, which is not timed, and run. Ratios are to the first of the same round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + repeats):
        for name, prepare in ways.items():
            with quiet():
                run = prepare()
                began = time.process_time()
                run()
            if number >= warm_up:
                times[name].append(time.process_time() - began)
    first = next(iter(times.values()))
    print(f"| {title} | seconds: median | min | max | times ours: median | min | max |\n|---|---|---|---|---|---|---|")
    for name, took in times.items():
        ratios = [one / other for one, other in zip(took, first, strict=True)]
        cells = [f"{pick(values):.2f}" for values in (took, ratios) for pick in (statistics.median, min, max)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    demo, pythia = SHAPES
    demo = replace(demo, l0s=L0S)
    print(
        f"float64: our weights and those of SAELens, same SAE, differ by {difference(demo):.0e} at most\n", flush=True
    )
    for shape in (demo, pythia):
        rows = list(batches(shape, STEPS[shape.name]))
        ways = {
            "ours, fast": lambda trainers, rows=rows: our_steps(fast, trainers, rows),
            "ours, stock": lambda trainers, rows=rows: our_steps(stock, trainers, rows),
            "SAELens": lambda trainers, rows=rows: saelens_trainer(MatryoshkaBatchTopKTrainingSAE, trainers, rows).fit,
            "SAELens, same SAE": lambda trainers, rows=rows: saelens_trainer(SameSAE, trainers, rows).fit,
        }
        prepared = {name: lambda way=way, shape=shape: way(trainers_of(shape)) for name, way in ways.items()}
        compare(f"{len(rows) - 1} steps of {len(shape.l0s)} SAEs, {shape.name}", prepared, repeats)
    jobs: dict[str, Any] = {}
    for step in ("fast", "stock"):
        config = of_the_demo(step)
        jobs[f"ours, {step}"] = partial(ours, config)
    jobs["SAELens' runner"] = partial(run_saelens, train_settings(config, training_job(config)))
    compare(f"job of {len(L0S)} SAEs", {name: lambda run=run: run for name, run in jobs.items()}, repeats, warm_up=1)


if __name__ == "__main__":
    main()
