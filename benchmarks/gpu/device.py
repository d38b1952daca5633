"""What is asked of CUDA itself, all in one place. On a CPU there is nothing to wait for or to count."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if on_gpu(device):
        torch.cuda.synchronize(device)


def reset_peak(device: str) -> None:
    if on_gpu(device):
        torch.cuda.init()  # before it there is nothing to reset, which is an error
        torch.cuda.reset_peak_memory_stats(device)


def peak_gigabytes(device: str) -> float | None:
    """The most that this process's tensors took on the device; on a CPU it is not counted."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if on_gpu(device) else None


def total_gigabytes(device: str) -> float | None:
    return torch.cuda.get_device_properties(device).total_memory / 1e9 if on_gpu(device) else None


class Seconds:
    """How long the body of `timed` took."""

    value = 0.0


@contextmanager
def timed(device: str) -> Iterator[Seconds]:
    seconds = Seconds()
    wait(device)
    began = time.perf_counter()
    yield seconds
    wait(device)
    seconds.value = time.perf_counter() - began
