"""How much an SAE's reading of an untouched token changes when others are corrupted, beside the activations' own."""

import torch
from torch.nn.functional import cosine_similarity

from ...activations.settings import Stream
from ..ood.latents import Encoder, most_different
from .latents import Numbers, decoded, explained_variance, l0
from .probes import Probe, fit
from .settings import RobustnessSettings
from .texts import Texts, spelled


class Changes:
    """Of one SAE. Probes learn from clean text alone; what they are tested on is never what they learned from."""

    def __init__(self, encode: Encoder, texts: Texts, settings: RobustnessSettings):
        self.encode, self.texts, self.settings = encode, texts, settings
        self.clean = encode(texts.test.x)
        self.mean = texts.test.x.mean(0)
        learned = encode(texts.train.x)
        self.latents: dict[str, torch.Tensor] = {}
        self.probes: dict[str, Probe] = {}
        for parent, labels in texts.train.labels.items():
            self.latents[parent] = most_different(learned, labels.long(), settings.k)
            self.probes[parent] = fit(learned[:, self.latents[parent]], labels, settings.seed)

    def result(self) -> dict[str, Numbers]:
        everything = torch.arange(len(self.clean))
        found = {"clean": self.of_clean(everything)}
        corrupted = {name: self.of_corrupted(name) for name in self.texts.corrupted}
        found |= corrupted
        keys = next(iter(corrupted.values())).keys() - {"tokens"}
        found["mean"] = {key: sum(each[key] for each in corrupted.values()) / len(corrupted) for key in sorted(keys)}
        found["own"] = own_l0(self.encode, self.texts, self.settings.stream)
        return found

    def of_clean(self, rows: torch.Tensor) -> Numbers:
        return self.measures(self.texts.test.x[rows], self.clean[rows], rows)

    def of_corrupted(self, name: str) -> Numbers:
        reading = self.texts.corrupted[name]
        latents, before = self.encode(reading.x), self.clean[reading.rows]
        after = self.measures(reading.x, latents, reading.rows)
        change = {f"{key}_change": after[key] - value for key, value in self.of_clean(reading.rows).items()}
        alike = {
            "jaccard": jaccard(before, latents),
            "cosine": cosine(before, latents),
            "raw_cosine": cosine(self.texts.test.x[reading.rows] - self.mean, reading.x - self.mean),
        }
        return {"tokens": len(reading.rows), **alike, **after, **change}

    def measures(self, x: torch.Tensor, latents: torch.Tensor, rows: torch.Tensor) -> Numbers:
        """`rows` says which clean tokens these are: a token keeps its labels."""
        labels = {parent: has[rows] for parent, has in self.texts.test.labels.items()}
        aucs = [self.probes[name].auc(latents[:, self.latents[name]], has) for name, has in labels.items()]
        raw = [self.texts.probes[name].auc(x, has) for name, has in labels.items()]
        return {
            "l0": l0(latents),
            "explained_variance": explained_variance(x, decoded(self.encode, latents)),
            "probe_auc": sum(aucs) / len(aucs),
            "raw_probe_auc": sum(raw) / len(raw),
        }


def jaccard(one: torch.Tensor, other: torch.Tensor) -> float:
    """Latents active in both, of those active in one of them: the mean over rows. Two without any are alike."""
    a, b = one != 0, other != 0
    both, either = (a & b).sum(1).double(), (a | b).sum(1).double()
    return float(torch.where(either > 0, both / either.clamp(min=1), 1.0).mean())


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean over rows; of a vector of zeros with another 0, with itself 1."""
    both_empty = (one == 0).all(1) & (other == 0).all(1)
    return float(torch.where(both_empty, 1.0, cosine_similarity(one.double(), other.double())).mean())


def own_l0(encode: Encoder, texts: Texts, stream: Stream) -> Numbers:
    """l0 where the stream that the SAE was trained on leaves a token as it is, and where it replaces one.

    The baseline has no such tokens: both are its l0 on clean text. A corruption that leaves nothing in a token's place
    (deletion) has no l0 there.
    """
    if stream.corruption is None:
        clean = l0(encode(texts.test.x))
        return {"l0_untouched": clean, "l0_touched": clean}
    reading = texts.streams[spelled(stream.corruption)]
    untouched = {"corrupted": reading.x, "clean": texts.test.x[reading.rows]}.get(stream.context)
    found = {} if untouched is None else {"l0_untouched": l0(encode(untouched))}
    return found | ({"l0_touched": l0(encode(reading.touched))} if len(reading.touched) else {})
