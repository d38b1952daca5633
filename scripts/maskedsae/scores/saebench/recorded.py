"""Activations of the language model that do not depend on the SAE, read instead of computed again for each SAE.

A call is known by all its arguments, every token included, so what is read is bit for bit what would be computed (same
machine, device, versions and threads); an unknown call is computed. For logits and losses, the layers after the SAE's
hook are always computed, since they depend on what the SAE puts there; a TransformerBridge computes all of them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from ...jobs.files import write_json

Place = list[Any]  # where a value is in the file, for JSON: [first byte, shape, dtype]


class RecordedCalls:
    """A model's calls, answered from its recorded output of `layer`. With `record`, that is recorded (then `close`)."""

    def __init__(self, model: Any, path: Path, layer: int, record: bool = False):
        self.model, self.path = model, Path(path)
        self.hook = f"blocks.{layer}.hook_resid_post"
        self._to_the_hook: dict[str, Any] = {"names_filter": [self.hook], "stop_at_layer": layer + 1}
        self._compute, self._forward = model.run_with_cache, model.forward
        self.known: dict[str, Place] = {} if record else json.loads(self.path.with_suffix(".json").read_text())
        self.kept: dict[str, Place] = {}
        self.hits = self.misses = 0
        self._bridge = isinstance(model, TransformerBridge)  # which cannot start at a layer
        self._file = open(self.path.with_suffix(".bin"), "wb") if record else None  # noqa: SIM115
        size = self.path.with_suffix(".bin").stat().st_size
        self._bytes = None if record or not size else torch.from_file(str(path) + ".bin", size=size, dtype=torch.uint8)
        model.run_with_cache, model.forward = self.run_with_cache, self.forward

    def run_with_cache(self, input: Any, **options: Any) -> Any:
        key = self._key(input, options)
        if key in self.known:
            return None, {self.hook: self._read(key)}
        self.misses += 1
        output, cache = self._compute(input, **options)
        if self._file and key not in self.kept:
            self.kept[key] = self._write(cache[self.hook])
        return output, cache

    def forward(self, input: Any, **options: Any) -> Any:
        """Logits and losses: core asks for them three times a batch: unchanged, with the SAE put in, and with zeros."""
        if options.get("return_type") != "both" or self._bridge:
            return self._forward(input, **options)
        key = self._key(input, self._to_the_hook)
        if key in self.known:
            hooked = self.model.hook_dict[self.hook](self._read(key))
            after = self._to_the_hook["stop_at_layer"]
            return self._forward(hooked, start_at_layer=after, tokens=input, **options)
        if self._file and key not in self.kept:  # the first of the three, when nothing is put in yet
            self.run_with_cache(input, **self._to_the_hook)
        self.misses += 1
        return self._forward(input, **options)

    def _key(self, input: Any, options: dict[str, Any]) -> str:
        content: list[Any]
        if isinstance(input, torch.Tensor):
            content = [list(input.shape), input.cpu().numpy().tobytes().hex()]
        else:  # text, whose tokens depend on this
            content = [list(input), self.model.cfg.default_prepend_bos]
        return hashlib.sha256(json.dumps([content, options], sort_keys=True).encode()).hexdigest()

    def _write(self, value: torch.Tensor) -> Place:
        assert self._file is not None
        start = self._file.tell()
        self._file.write(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return [start, list(value.shape), str(value.dtype).removeprefix("torch.")]

    def _read(self, key: str) -> torch.Tensor:
        assert self._bytes is not None  # a call that is known has its bytes
        self.hits += 1
        start, shape, dtype = self.known[key]
        kind = getattr(torch, dtype)
        size = torch.Size(shape).numel() * kind.itemsize
        return self._bytes[start : start + size].clone().view(kind).reshape(shape).to(self.model.cfg.device)

    def close(self) -> None:
        if self._file:
            self._file.close()
            write_json(self.path.with_suffix(".json"), self.kept)
