"""What jobs ask a cluster for: estimates from the configuration, with their arithmetic.

What is asked for is twice what is expected, and grows with each attempt: too little costs a restart from the last
checkpoint, too much a longer wait in the queue. No result depends on it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path

from ..jobs.errors import InputError
from ..saes.imported.described import described
from ..scores.saebench.sizes import positions_of_a_set, shared_positions
from .configuration import Configuration, Model
from .grid import Imported, TrainingJob

MARGIN = 2  # asked for / expected
BYTES = {"float32": 4, "bfloat16": 2}
OOD_ACTIVATIONS_HOURS = 0.25  # eight sets of 1,800 short texts, once per model
# SAEBench reports for Gemma-2-2B on an RTX 3090 (16k latents), of each eval: what SAEs share, and one SAE.
SAEBENCH_MINUTES = {
    "absorption": (33, 26),
    "core": (0, 9),
    "sparse_probing": (15, 3),
    "tpp": (5, 2),
    "scr": (22, 6),
}
ORACLE_HOURS = 0.5  # probes on all dimensions of the language model, on a slow core
PLANTED_HOURS = 0.02  # seconds of imports, and half a second an SAE (384 latents, 20,000 rows)
PROBING_HOURS = 0.1  # 85 CPU seconds per SAE with the paper's settings (docs/ood.md), on a single slow core
ROBUSTNESS_HOURS = 0.1  # 17 products of 16,384 rows with Gemma's weights, 5 TFLOP on one core, and probes


@dataclass(frozen=True)
class Request:
    """A resource for Snakemake: `first` in the first attempt, twice that in the second, and so on up to `most`."""

    first: float
    most: float = inf

    def at(self, attempt: int) -> int:
        return ceil(min(self.first * attempt, self.most))

    def __call__(self, wildcards: object, attempt: int) -> int:
        return self.at(attempt)


def minutes(config: Configuration, expected_hours: float | None) -> Request:
    """Time, up to the partition's limit; the whole limit where no time is known. At least half an hour, since starting
    Python and loading a model from a busy file system can take minutes."""
    most = 60 * config.compute.job_hours
    return Request(most if expected_hours is None else max(30.0, 60 * MARGIN * expected_hours), most)


def megabytes(config: Configuration, expected_gigabytes: float) -> Request:
    """Memory, up to that of a node."""
    return Request(1000 * MARGIN * expected_gigabytes, 1000 * config.compute.job_gigabytes)


def gpus(config: Configuration) -> int:
    """GPUs of a job that runs a language model or trains an SAE."""
    return 0 if config.compute.device == "cpu" else 1


def tflops(config: Configuration, model: Model, training: bool = False) -> float:
    """A model's `tf32` is for training alone."""
    formats = config.compute.tflops
    if model.dtype == "bfloat16":
        return formats.bfloat16
    return formats.tf32 if training and model.tf32 else formats.float32


def training_hours(config: Configuration, job: TrainingJob) -> float | None:
    """The forward passes and the SAEs' steps; None where the model's cost is not given."""
    forward = forward_hours(config, job)
    return None if forward is None else forward + step_hours(config, job)


def forward_hours(config: Configuration, job: TrainingJob) -> float | None:
    """The language model's pass over each token, once for all SAEs of the job; None where its cost is not given.

    Pythia on an A100: 500M tokens x 0.13 GFLOP / 10 TFLOP/s = 1.8 h. A stream that drops rows reads more text; one that
    joins rows of the clean and of the corrupted context reads it twice.
    """
    model, stream = config.model(job.model), config.stream(job.stream)
    if model.planted is not None:
        return 0.0
    if model.gflop is None:
        return None
    passes = 2 if (stream.context, stream.rows) == ("clean", "all") or stream.context == "noise" else 1
    read = passes * config.training.tokens / stream.share_of_rows
    return read * model.gflop / (1000 * tflops(config, model, training=True)) / 3600


def step_hours(config: Configuration, job: TrainingJob) -> float:
    """Each SAE's own steps: for four, 4 x 244,140 steps x 10 ms = 2.7 h."""
    trainers = [config.trainer_settings[cell.trainer] for cell in job.cells]
    milliseconds = sum(getattr(config.compute.step_ms, trainer.step(config.training)) for trainer in trainers)
    return float(config.training.steps * milliseconds / 1000 / 3600)


def training_gigabytes(config: Configuration, job: TrainingJob) -> float:
    """The machine's memory, not the GPU's.

    An SAE's checkpoint is built in memory before it is written: weights, Adam's two moments and a copy of the bytes,
    450 MB for 4096 latents of 2304 dimensions. (On a CPU the demo's jobs took 0.9 GB.)
    """
    latents = sum(config.trainer_settings[cell.trainer].dict_size for cell in job.cells)
    return loaded_gigabytes(config.model(job.model)) + 0.45 * latents / 4096


def loaded_gigabytes(model: Model) -> float:
    """Python, torch and CUDA, 3 GB; and the model: gflop / 2 billion parameters up to its layer, times 3 for the layers
    after it and the embeddings, of 2 bytes each: Gemma-2-2B 6 GB (its files are 5.2 GB)."""
    if model.planted is not None:
        return 3
    return 3 + 3 * (2 if model.gflop is None else model.gflop)


def saebench_memory(config: Configuration, name: str) -> Request:
    """The model twice, in transformers and in transformer-lens; and a probing set's activations twice, as read and as
    concatenated: Gemma, bfloat16, 12,500 texts of 128 tokens, 7 GB each."""
    model = config.model(name)
    texts = positions_of_a_set(config.saebench) * (width(config, model) or 2304) * BYTES[model.dtype] / 1e9
    return megabytes(config, 2 * loaded_gigabytes(model) + 2 * texts)


def saebench_hours(config: Configuration, name: str, shared: bool) -> float | None:
    """With all five evals 75 minutes for what SAEs share and 46 per SAE (SAEBENCH_MINUTES). The language model's passes
    dominate, so this scales with gflop and tflops; a 3090 sustains about 60 in bfloat16."""
    model = config.model(name)
    if model.gflop is None:
        return None
    gemma_hours = sum(SAEBENCH_MINUTES[asked][0 if shared else 1] for asked in config.saebench.asked) / 60
    return gemma_hours * model.gflop / 2.0 * 60 / tflops(config, model)


def saebench_time(config: Configuration, name: str, shared: bool) -> Request:
    return minutes(config, saebench_hours(config, name, shared))


def gpu_hours(config: Configuration, rule: str, model: str, job: TrainingJob | None) -> float | None:
    """How long a job that holds a GPU is expected to take; `job` is what it trains, if it is a training."""
    if job:
        return training_hours(config, job)
    if rule == "ood_activations":
        return OOD_ACTIVATIONS_HOURS
    if rule == "robustness_activations":
        return robustness_activations_hours(config, model)
    if rule == "import_sae":
        return import_hours(config, model)
    return saebench_hours(config, model, shared=rule == "saebench_model")


def robustness_activations_hours(config: Configuration, name: str) -> float | None:
    """One pass over the clean text, and one over half of it for each corruption; and a tenth of an hour for the probes
    on activations."""
    model, corruptions = config.model(name), len(config.robustness.corruptions) + len(config.streams)
    if model.gflop is None:
        return None
    tokens = config.robustness.contexts * config.tokens.context_length * (1 + corruptions / 2)
    return 0.1 + tokens * model.gflop / (1000 * tflops(config, model)) / 3600


def import_hours(config: Configuration, name: str) -> float | None:
    """The held-out text, and as much again for principal components or another threshold; and a tenth of an hour."""
    model = config.model(name)
    if model.gflop is None:
        return None
    tokens = 2 * config.tokens.heldout_contexts * config.tokens.context_length
    return 0.1 + tokens * model.gflop / (1000 * tflops(config, model)) / 3600


def import_time(config: Configuration, name: str) -> Request:
    return minutes(config, import_hours(config, name))


def import_memory(config: Configuration, name: str, imported: str) -> Request:
    """The model; and a batch of tokens as latents, several times: 32 x 1,024 x 4,096 x 4 bytes x 6 = 3 GB (Pythia)."""
    model, folder = config.model(name), config.imported(imported).origin.folder
    latents = (_latents_of(folder) if folder else None) or config.training.dict_size
    tokens = model.lm_batch * config.tokens.context_length
    return megabytes(config, loaded_gigabytes(model) + 6 * 4 * tokens * latents / 1e9)


def robustness_time(config: Configuration, name: str) -> Request:
    return minutes(config, robustness_activations_hours(config, name))


def robustness_memory(config: Configuration, name: str, imported: str | None = None) -> Request:
    """Latents of up to five readings at a time, in float32 and as products: 5 x 16,384 x 4,096 x 4 bytes x 2."""
    latents: float = max(config.trainer_settings[trainer].dict_size for trainer in config.trainers)
    if imported is not None:
        found = _number_in(f"{Imported(config.run, name, imported).folder}/sae/cfg.json", "d_sae")
        latents = latents if found is None else found
    readings = 3 + len(config.robustness.corruptions) + len(config.streams)
    rows = readings * config.robustness.rows * (width(config, config.model(name)) or 2304)
    return megabytes(config, 1 + 4 * (10 * config.robustness.rows * latents + rows) / 1e9)


def token_hours(config: Configuration) -> float:
    """500M tokens take 8 minutes from local text (benchmarks/README.md). From the hub, the network decides: 2 GB of
    Pile-CC are a fifth of the 12 GB of the Pile that they are picked from; two hours allow for a slow line."""
    local = config.corpus.dataset is None
    return config.training.tokens / 5e8 * (8 / 60 if local else 2)


def disk_gigabytes(config: Configuration, jobs: Iterable[TrainingJob], cached: Iterable[str]) -> float | None:
    """What these jobs' SAEs and their models' tokens take at the end, and what SAEBench caches for the models `cached`;
    None where a model's cost is not given.

    A token is 4 bytes at most. An SAE is 2 x latents x width float32, in three files: Pythia's 76 MB, Gemma's 227 MB.
    SAEBench caches the activations of every text: for Gemma, in bfloat16, 0.2 TB.
    """
    jobs, cached = list(jobs), list(cached)
    trained = {job.model for job in jobs}
    widths = {name: width(config, config.model(name)) for name in trained.union(cached)}
    known = {name: value for name, value in widths.items() if value is not None}
    if len(known) < len(widths):
        return None
    latents = {name: trainer.dict_size for name, trainer in config.trainer_settings.items()}
    saes = sum(24 * latents[cell.trainer] * known[cell.model] for job in jobs for cell in job.cells)
    read = [name for name in trained if config.model(name).planted is None]
    tokens = len(read) * 4 * config.training.tokens
    per_position = sum(known[name] * BYTES[config.model(name).dtype] for name in cached)
    return (saes + tokens + per_position * shared_positions(config.saebench, config.saebench.asked)) / 1e9


def width(config: Configuration, model: Model) -> float | None:
    """Width of the residual stream, from the model's own files once they exist; before that from the usual 12 width^2
    parameters per layer, each 2 FLOP per token: 776 for Pythia-160M (it is 768), 2532 for Gemma-2-2B (2304)."""
    if model.planted is not None:
        return model.planted.width
    sources = [(f"results/{config.run}/{model.name}/model.json", "width")]
    sources += [(f"{model.path}/config.json", "hidden_size")] if model.path else []
    for path, key in sources:
        if (found := _number_in(path, key)) is not None:
            return found
    return None if model.gflop is None else (model.gflop * 1e9 / (24 * (model.layer + 1))) ** 0.5


def _latents_of(folder: str) -> int | None:
    try:
        return described(folder).latents
    except InputError:  # not there yet, or broken: its own job says what is wrong
        return None


def _number_in(path: str, key: str) -> float | None:
    try:
        return float(json.loads(Path(path).read_text())[key])
    except (OSError, ValueError, KeyError, TypeError):  # not there yet, or broken: its own job says what is wrong
        return None
