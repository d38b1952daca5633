"""What a GPU machine does, with torch's CUDA build on a machine without a GPU: run by tests/unit/test_without_a_gpu.py.

    python on_fake_cuda.py fork
    python on_fake_cuda.py streams MODEL_JSON TOKENS
    python on_fake_cuda.py steps

Under `FakeTensorMode` tensors have shapes, dtypes and devices and no contents, so `cuda` needs no GPU, and whatever
mixes devices raises. What depends on contents stops there: the trainers' updates (`.item()`).
"""

import sys
import tempfile
from itertools import islice
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MASK, DELETE = {"kind": "mask", "p": 0.3}, {"kind": "delete", "p": 0.3}
STREAMS = {
    "clean": {},
    "masked": {"corruption": MASK},
    "clean context": {"corruption": MASK, "context": "clean"},
    "untouched rows": {"corruption": MASK, "rows": "untouched"},
    "both": {"corruption": DELETE, "context": "clean", "rows": "untouched"},
    "deleted": {"corruption": DELETE},
    "replaced": {"corruption": {"kind": "replace", "p": 0.3}},
    "words": {"corruption": {"kind": "mask_words", "p": 0.3}},
    "another string": {"corruption": MASK | {"string": " ..."}},
    "noise": {"corruption": MASK, "context": "noise"},
    "noise, untouched rows": {"corruption": DELETE, "context": "noise", "rows": "untouched"},
}


class NoWaits(TorchDispatchMode):
    """Refuses a copy between CPU and GPU that the CPU waits for. (FakeTensorMode refuses to give it a number.)"""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            given = args[-1] if func.overloadpacket == torch.ops.aten.copy_ else args[0]
            if given.device != made.device and not (kwargs or {}).get("non_blocking"):
                raise AssertionError(f"a copy from {given.device} to {made.device} makes the CPU wait")
        return made


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
    """Every kind of stream, in both number formats, hands out rows on the GPU, and waits for none of its values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from maskedsae.activations import language_models
    from maskedsae.activations import streams as module
    from maskedsae.activations.language_models import LanguageModel, read_facts
    from maskedsae.activations.settings import Stream
    from maskedsae.text.tokens import Tokens

    torch.Tensor.pin_memory = lambda tensor: tensor  # the real one needs a GPU
    language_models.check_blocks = lambda *given: None  # it asks for values
    facts, tokens = read_facts(model_file), Tokens.open(tokens_folder)

    def two_blocks(dtype: str, given: dict, device: str = "cuda", **more) -> list[torch.Tensor]:
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = LanguageModel(facts, dtype, "cuda")
            model.device = device
            batching = module.Batching(batch=48, block_contexts=10, lm_batch=4, **more)
            data = module.ActivationStream(model, tokens, Stream.from_plain({"name": "it", **given}), 0, batching)
            with NoWaits():
                (_, _, one), (_, carry, other) = islice(data.blocks(), 2)
            return [*one, carry, *other]

    for dtype in ("float32", "bfloat16"):
        for name, given in STREAMS.items():
            rows = two_blocks(dtype, given)
            assert {(part.device.type, part.dtype) for part in rows} == {("cuda", getattr(torch, dtype))}, name
            print(dtype, name, len(rows))

    def mistake(what: str, **more) -> None:
        try:
            two_blocks("float32", STREAMS["masked"], **more)
        except Exception as error:
            print("a mistake is seen:", what, "|", type(error).__name__, str(error).splitlines()[0])

    mistake("tokens that stay on the CPU", device="cpu")
    mistake("a number of rows that only the GPU knows", max_norm_multiple=2.0)
    to_device = module.to_device
    for what, wrong in (
        ("rows' places that stay on the CPU", lambda tensor, device: tensor),
        ("a copy that the CPU waits for", lambda tensor, device: tensor.to(device)),
        ("a number that the CPU asks for", lambda tensor, device: to_device(tensor, device) + tensor.max().item()),
    ):
        module.to_device = wrong
        mistake(what)


def steps() -> None:
    """The GPU's step of every trainer that has one, in both number formats, with and without the auxiliary loss."""
    import nnsight  # dictionary_learning's

    nnsight.DEFAULT_PATCHER.__exit__(None, None, None)  # its patches of torch do not know of fake tensors
    from torch._subclasses.fake_tensor import FakeTensorMode

    from maskedsae.saes.settings import FAST_KINDS
    from maskedsae.saes.steps.dense import DenseStep
    from maskedsae.saes.trainers.base import trainer_kind

    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_fused_adam_.tensor_lr", lambda *given, **others: None)  # torch has none
    DenseStep.look = lambda step: setattr(step, "_silent", 0)  # it asks for a value
    given = {
        "steps": 100,
        "activation_dim": 32,
        "dict_size": 64,
        "k": 4,
        "layer": 1,
        "lm_name": "it",
        "warmup_steps": 10,
    }
    for kind in FAST_KINDS:
        for dtype in (torch.float32, torch.bfloat16):
            own = {"group_fractions": [0.25, 0.75]} if kind == "matryoshka_batch_topk" else {}
            trainer = trainer_kind(kind).make(**given, **own, device="cpu")
            with FakeTensorMode(allow_non_fake_inputs=True):
                for module in trainer.ae.modules():
                    for name, parameter in module.named_parameters(recurse=False):
                        values = torch.empty_strided(parameter.shape, parameter.stride(), device="cuda")
                        module._parameters[name] = torch.nn.Parameter(values)
                trainer.optimizer = torch.optim.Adam(trainer.ae.parameters())
                trainer.ae.threshold = trainer.ae.threshold.to("cuda")
                trainer.num_tokens_since_fired = trainer.num_tokens_since_fired.to("cuda")
                step, x = (
                    DenseStep(trainer, trainer_kind(kind).form, dtype),
                    torch.randn(16, 32, device="cuda").to(dtype),
                )
                for revive in (False, True):
                    with NoWaits():
                        step.prepare(len(x))
                        assert step(x, revive).device.type == "cuda"
                assert {each.device.type for each in step.state} == {"cuda"}
                print(kind, dtype)
                encode = step._encode
                step._encode = lambda narrow, encode=encode: encode(narrow).cpu().cuda()
                try:
                    with NoWaits():
                        step(x, False)
                except Exception as error:
                    print("a copy is seen:", str(error).splitlines()[0])
                step._encode = encode
                step.weights.bias = step.weights.bias.cpu()  # this must be seen
                try:
                    step(x, False)
                except RuntimeError as error:
                    print("a mistake is seen:", str(error).splitlines()[0])


if __name__ == "__main__":
    {"fork": fork, "streams": streams, "steps": steps}[sys.argv[1]](*sys.argv[2:])
