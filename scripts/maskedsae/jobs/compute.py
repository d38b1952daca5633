"""Section `compute` of the configuration: how jobs compute and what they ask a cluster for. No result depends on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tflops:
    """The device's sustained TFLOP/s, by number format."""

    float32: float
    tf32: float
    bfloat16: float


@dataclass(frozen=True)
class StepMs:
    """Milliseconds of a training step of one SAE, by `training.step`."""

    stock: float
    fast: float


@dataclass(frozen=True)
class Compute:
    device: str
    threads: int
    token_threads: int
    probe_threads: int
    checkpoint_minutes: float
    log_every: int
    job_gigabytes: float
    job_hours: float
    tflops: Tflops
    step_ms: StepMs
    fetch_here: bool
