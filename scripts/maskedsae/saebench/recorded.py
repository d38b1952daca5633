"""Activations of the language model that do not depend on the SAE, read instead of computed again for each SAE.

A call is known by all that it was given, the tokens to the last one, so what is read is what would be computed, bit
for bit (same machine, device, versions and threads); a call that is not known is computed.
"""

import hashlib
import json
from pathlib import Path

import torch
from transformer_lens import HookedTransformer

from ..files import write_json


class RecordedCalls:
    """`run_with_cache` of a model, of calls that read one hook. With `record`, new calls are kept (then `close`)."""

    def __init__(self, model: HookedTransformer, path: Path, record: bool = False):
        self.model, self.path = model, Path(path)
        self._compute = model.run_with_cache
        self.known = {} if record else json.loads(self.path.with_suffix(".json").read_text())
        self.hits = self.misses = 0
        self._file = open(self.path.with_suffix(".bin"), "wb") if record else None  # noqa: SIM115
        size = self.path.with_suffix(".bin").stat().st_size
        self._bytes = None if record or not size else torch.from_file(str(path) + ".bin", size=size, dtype=torch.uint8)
        model.run_with_cache = self.run_with_cache

    def run_with_cache(self, input, **options):
        (hook,) = options["names_filter"]
        key = self._key(input, options)
        if key in self.known and not self._file:
            self.hits += 1
            return None, {hook: self._read(self.known[key]).to(self.model.cfg.device)}
        self.misses += 1
        output, cache = self._compute(input, **options)
        if self._file and key not in self.known:
            self.known[key] = self._write(cache[hook])
        return output, cache

    def _key(self, input, options: dict) -> str:
        if isinstance(input, torch.Tensor):
            given = [list(input.shape), input.cpu().numpy().tobytes().hex()]
        else:  # text, whose tokens depend on this
            given = [list(input), self.model.cfg.default_prepend_bos]
        return hashlib.sha256(json.dumps([given, options], sort_keys=True).encode()).hexdigest()

    def _write(self, value: torch.Tensor) -> list:
        start = self._file.tell()
        self._file.write(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return [start, list(value.shape), str(value.dtype).removeprefix("torch.")]

    def _read(self, entry: list) -> torch.Tensor:
        start, shape, dtype = entry
        kind = getattr(torch, dtype)
        size = torch.Size(shape).numel() * kind.itemsize
        return self._bytes[start : start + size].clone().view(kind).reshape(shape)

    def close(self) -> None:
        if self._file:
            self._file.close()
            write_json(self.path.with_suffix(".json"), self.known)
