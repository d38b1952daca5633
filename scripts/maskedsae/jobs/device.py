"""The device and the number of threads that a job computes with."""

import os
import platform

import torch

from .errors import InputError


def check_device(device: str, autocast: str = "float32") -> None:
    """Call this before long work, which would otherwise fail when it first uses the device."""
    if device.startswith("cuda") and torch.cuda._is_in_bad_fork():
        raise InputError(
            f"compute.device: {device}: this process cannot start CUDA, because its parent has asked for a GPU: "
            "score in a new process; if this was one, a package of another version asks on import: run `make env`"
        )
    if device.startswith("cuda") and not torch.cuda.is_available():
        no_build = torch.version.cuda is None
        problem = "this torch has no CUDA: run `make env TORCH=cuda`" if no_build else "none is visible"
        raise InputError(f"compute.device: {device} asks for a GPU, but {problem} (or set compute.device to cpu)")
    if device == "cpu" and autocast != "float32":
        raise InputError(f"training.autocast: {autocast} needs a GPU: set it to float32 for compute.device cpu")


def hide_gpus() -> None:
    """From this process and those that it starts, before any of them has asked for a GPU."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def set_threads(threads: int) -> None:
    """Sums differ with the number of threads, so it comes from the configuration, not from what a job was given."""
    torch.set_num_threads(threads)
    # cuBLAS is deterministic only with a fixed workspace (CUDA's documentation of CUBLAS_WORKSPACE_CONFIG).
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def to_device(tensor: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    """The tensor on the device. A copy to a GPU is made while the CPU goes on, from pinned memory, which torch gives to
    nobody else before the copy is done."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"cpu ({platform.machine()})"
