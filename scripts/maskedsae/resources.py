"""What jobs ask a cluster for: estimates from the configuration, with their arithmetic.

What is asked for is twice what is expected, and grows with each attempt: too little costs a restart from the last
checkpoint, too much a longer wait in the queue. None of it is part of a result's identity.
"""

from dataclasses import dataclass
from math import ceil, inf

from .grid import L0Set, by_name
from .saebench.sizes import positions_of_a_set, shared_positions

MARGIN = 2  # asked for / expected
BYTES = {"float32": 4, "bfloat16": 2}
OOD_ACTIVATIONS_HOURS = 0.25  # eight sets of 1,800 short texts, once a model


@dataclass(frozen=True)
class Growing:
    """A resource as Snakemake takes it: its first value, twice that in the second attempt, and so on up to `most`."""

    first: float
    most: float = inf

    def at(self, attempt: int) -> int:
        return ceil(min(self.first * attempt, self.most))

    def __call__(self, wildcards, attempt: int) -> int:
        return self.at(attempt)


def minutes(config: dict, expected_hours: float | None) -> Growing:
    """Time, up to the partition's limit; all of that where no time is known. Half an hour at the least: starting
    Python and loading a model from a busy file system alone can take minutes."""
    most = 60 * config["compute"]["job_hours"]
    return Growing(most if expected_hours is None else max(30.0, 60 * MARGIN * expected_hours), most)


def megabytes(config: dict, expected_gigabytes: float) -> Growing:
    """Memory, up to a node's."""
    return Growing(1000 * MARGIN * expected_gigabytes, 1000 * config["compute"]["job_gigabytes"])


def gpus(config: dict) -> int:
    """Of a job that runs a language model or trains an SAE."""
    return 0 if config["compute"]["device"] == "cpu" else 1


def training_hours(config: dict, cells: L0Set) -> float | None:
    """One forward pass of each token, and each SAE's steps; None where the model's cost is not given.

    Pythia, four l0s, on an A100: 500M tokens x 0.13 GFLOP / 10 TFLOP/s = 1.8 h, and 4 x 244,140 steps x 10 ms = 2.7 h.
    """
    model, training, compute = by_name(config["models"], cells.model), config["training"], config["compute"]
    if model["gflop"] is None:
        return None
    forward = training["tokens"] * model["gflop"] / (1000 * compute["tflops"][model["dtype"]])
    steps = training["tokens"] // training["batch"] * len(cells.l0s)
    return (forward + steps * compute["step_ms"] / 1000) / 3600


def training_gigabytes(config: dict, cells: L0Set) -> float:
    """Of the machine's memory, not the GPU's.

    An SAE's checkpoint is put together in memory before it is written: weights, Adam's two moments and a copy of the
    bytes, 4096 latents of 2304 dimensions 450 MB. (On a CPU the demo's jobs took 0.9 GB.)
    """
    model = loaded_gigabytes(by_name(config["models"], cells.model))
    return model + 0.45 * len(cells.l0s) * config["training"]["dict_size"] / 4096


def loaded_gigabytes(model: dict) -> float:
    """Python, torch and CUDA 3 GB; and the model: gflop / 2 billion parameters up to its layer, taken three times for
    the layers behind it and the embeddings, of 2 bytes: Gemma-2-2B 6 GB (its files are 5.2 GB)."""
    return 3 + 3 * (2 if model["gflop"] is None else model["gflop"])


def saebench_memory(config: dict, name: str) -> Growing:
    """The model twice, as transformers and as transformer-lens have it, and a probing set's activations twice, as read
    and as put together: Gemma, bfloat16, 12,500 texts of 128 tokens, 8 GB each."""
    model = by_name(config["models"], name)
    texts = positions_of_a_set(config["saebench"]) * (width(model) or 2304) * BYTES[model["dtype"]] / 1e9
    return megabytes(config, 2 * loaded_gigabytes(model) + 2 * texts)


def saebench_hours(config: dict, name: str, of_model: bool) -> float | None:
    """SAEBench's own account for Gemma-2-2B on an RTX 3090 (16k latents): 75 minutes of what SAEs share, 46 an SAE. The
    language model's passes dominate, so by gflop and tflops, of which a 3090 keeps up about 60 in bfloat16."""
    model = by_name(config["models"], name)
    if model["gflop"] is None:
        return None
    of_gemma = (75 if of_model else 46) / 60
    return of_gemma * model["gflop"] / 2.0 * 60 / config["compute"]["tflops"][model["dtype"]]


def saebench_time(config: dict, name: str, of_model: bool) -> Growing:
    return minutes(config, saebench_hours(config, name, of_model))


def gpu_hours(config: dict, rule: str, model: str, cells: L0Set | None) -> float | None:
    """What a job that holds a GPU is expected to take; `cells` are those that it trains, if it does."""
    if cells:
        return training_hours(config, cells)
    if rule == "ood_activations":
        return OOD_ACTIVATIONS_HOURS
    return saebench_hours(config, model, of_model=rule == "saebench_model")


def token_hours(config: dict) -> float:
    """500M tokens take 8 minutes where the text is at hand (benchmarks/README.md). From the hub, the network decides:
    2 GB of Pile-CC are a fifth of the 12 GB of the Pile that they are picked from; two hours are for a slow line."""
    at_hand = config["corpus"]["dataset"] is None
    return config["training"]["tokens"] / 5e8 * (8 / 60 if at_hand else 2)


def disk_gigabytes(config: dict, sets: list[L0Set], benched: list[str]) -> float | None:
    """What these SAEs and their models' tokens take at the end, and what SAEBench caches of the models `benched`; None
    where a model's cost is not given.

    A token is 4 bytes at most. An SAE is 2 x latents x width float32, in three files: Pythia's 76 MB, Gemma's 227 MB.
    SAEBench caches the activations of every text: Gemma's, in bfloat16, are 0.2 TB.
    """
    trained = {cells.model for cells in sets}
    widths = {name: width(by_name(config["models"], name)) for name in trained.union(benched)}
    if None in widths.values():
        return None
    saes = sum(len(cells.l0s) * 24 * config["training"]["dict_size"] * widths[cells.model] for cells in sets)
    tokens = len(trained) * 4 * config["training"]["tokens"]
    a_position = sum(widths[name] * BYTES[by_name(config["models"], name)["dtype"]] for name in benched)
    return (saes + tokens + a_position * shared_positions(config["saebench"])) / 1e9


def width(model: dict) -> float | None:
    """Of the residual stream, by the usual 12 width^2 parameters a layer, each 2 FLOP a token: 776 for Pythia-160M
    (it is 768), 2532 for Gemma-2-2B (2304). model.json knows it exactly, but is not there yet when jobs are planned."""
    return None if model["gflop"] is None else (model["gflop"] * 1e9 / (24 * (model["layer"] + 1))) ** 0.5


@dataclass(frozen=True)
class Planned:
    """A job that is to be done: its kind, its GPUs, the hours that it is expected to take (None: unknown, or without a
    GPU) and those that it asks for."""

    kind: str
    gpus: int
    expected: float | None
    asked: float


def plan(jobs: list[Planned], gigabytes: float | None) -> str:
    """A table of what is to be done and what it costs."""
    if not jobs:
        return "nothing is to be done for the targets beside plan (snakemake --profile slurm -n all plan)"
    rows = ["the plan", _row("jobs", "GPU hours", "asked for", "")]
    for kind in dict.fromkeys(job.kind for job in jobs):
        rows.append(_summed(kind, [job for job in jobs if job.kind == kind]))
    disk = "unknown (a model's gflop is null)" if gigabytes is None else f"about {gigabytes:.1f} GB"
    rows.append(_summed(f"in all; on disk {disk}", jobs))
    return "\n".join([*rows, "GPU hours are estimates, by config.yaml's gflop, tflops and step_ms (docs/slurm.md)."])


def _summed(label: str, jobs: list[Planned]) -> str:
    on_gpus = [job for job in jobs if job.gpus]
    if not on_gpus:
        return _row(len(jobs), "-", "-", label)
    unknown = any(job.expected is None for job in on_gpus)
    expected = "unknown" if unknown else f"{sum(job.gpus * job.expected for job in on_gpus):.1f}"
    return _row(len(jobs), expected, f"{sum(job.gpus * job.asked for job in on_gpus):.1f}", label)


def _row(*columns: object) -> str:
    return "{:>8} {:>12} {:>12}  {}".format(*columns)
