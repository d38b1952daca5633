"""What a GPU machine does, with torch's CUDA build on a machine without a GPU: run by tests/unit/test_without_a_gpu.py.

    python on_fake_cuda.py fork
    python on_fake_cuda.py streams MODEL_JSON TOKENS

Under `FakeTensorMode` tensors have shapes, dtypes and devices and no contents, so `cuda` needs no GPU, and whatever
mixes devices raises. What depends on contents stops there: the trainers' updates (`.item()`), and blocks of a stream
that drops rows, of which only the forward passes are run.
"""

import sys
import tempfile
from pathlib import Path

import torch

MASK, DELETE = {"kind": "mask", "p": 0.3}, {"kind": "delete", "p": 0.3}
STREAMS = {
    "clean": {},
    "masked": {"corruption": MASK},
    "clean context": {"corruption": MASK, "context": "clean"},
    "untouched rows": {"corruption": MASK, "rows": "untouched"},
    "both": {"corruption": DELETE, "context": "clean", "rows": "untouched"},
    "deleted": {"corruption": DELETE},
}


def fork() -> None:
    """What a scoring job imports before it forks; then a child says whether it could start CUDA."""
    from maskedsae.scores.saebench import scoring, shared  # noqa: F401
    from maskedsae.scores.saebench.children import run_child

    assert torch.version.cuda, "this is not torch's CUDA build"
    folder = Path(tempfile.mkdtemp())
    started = run_child(folder, folder / "output.txt", "it", lambda: not torch.cuda._is_in_bad_fork())
    print("a child may start CUDA" if started else "a child may not start CUDA")
    import maskedsae.scores.saebench.evals  # noqa: F401

    started = run_child(folder, folder / "output.txt", "it", lambda: not torch.cuda._is_in_bad_fork())
    print("with SAEBench imported", "it may" if started else "it may not")


def streams(model_file: str, tokens_folder: str) -> None:
    """Every kind of stream, in both number formats, hands out rows on the GPU."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from maskedsae.activations.language_models import LanguageModel, read_facts
    from maskedsae.activations.settings import Stream
    from maskedsae.activations.streams import ActivationStream, Batching
    from maskedsae.text.tokens import Tokens

    facts, tokens = read_facts(model_file), Tokens.open(tokens_folder)
    for dtype in ("float32", "bfloat16"):
        for name, given in STREAMS.items():
            with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
                model = LanguageModel(facts, dtype, "cuda")
                stream = Stream.from_plain({"name": "it", **given})
                data = ActivationStream(model, tokens, stream, 0, Batching(batch=64, block_contexts=10, lm_batch=4))
                if stream.share_of_rows == 1:
                    (_, _, one), (_, carry, other) = (item for item, _ in zip(data.blocks(), range(2), strict=False))
                    rows = [*one, carry, *other]
                else:
                    rows = [data._forward(range(4, 8))]
                assert {(part.device.type, part.dtype) for part in rows} == {("cuda", getattr(torch, dtype))}, name
                print(dtype, name, len(rows))
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = LanguageModel(facts, dtype, "cuda")
            model.device = "cpu"  # tokens that stay on the CPU: this must be seen
            try:
                model.residual(torch.zeros(2, 8, dtype=torch.long))
            except RuntimeError as error:
                print(dtype, "a mistake is seen:", str(error).splitlines()[0])


{"fork": fork, "streams": streams}[sys.argv[1]](*sys.argv[2:])
