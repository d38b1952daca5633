"""What planted.json depends on, besides the SAE and the truth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlantedScoring:
    stream_seed: int  # of the truth
    rates: tuple[float, ...]  # the run's rates of corruption, which free latents for the untouched rows
    code: dict[str, str]
