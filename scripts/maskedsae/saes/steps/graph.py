"""Recording a CUDA graph: the only part of a step that needs a GPU."""

from collections.abc import Callable, Sequence

import torch

WARM_UP = 3  # runs before the recording, for what libraries set up when they are first used

_streams: list[torch.cuda.Stream] = []  # used again: for each that it is used in, cuBLAS keeps a workspace


def record(branches: Sequence[Callable[[], torch.Tensor]], state: Sequence[torch.Tensor]) -> Callable[[], torch.Tensor]:
    """A graph of the branches, each in a CUDA stream of its own: what one computes cannot depend on which others there
    are. The warm-up is undone in `state`, so that every step of a training is a replay."""
    while len(_streams) < len(branches):
        _streams.append(torch.cuda.Stream())
    streams = _streams[: len(branches)]
    before = [each.clone() for each in state]
    for _ in range(WARM_UP):
        _run(branches, streams)
    torch._foreach_copy_(list(state), before)
    del before  # as large as all SAEs; the recording needs memory too
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = _run(branches, streams)

    def replay() -> torch.Tensor:
        graph.replay()
        return losses

    return replay


def _run(branches: Sequence[Callable[[], torch.Tensor]], streams: Sequence[torch.cuda.Stream]) -> torch.Tensor:
    trunk, losses = torch.cuda.current_stream(), []
    for branch, stream in zip(branches, streams, strict=True):
        stream.wait_stream(trunk)
        with torch.cuda.stream(stream):
            losses.append(branch())
    for stream in streams:
        trunk.wait_stream(stream)
    return torch.stack(losses)
