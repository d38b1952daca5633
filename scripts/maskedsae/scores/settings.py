"""What scores.csv depends on, besides the score files."""

from dataclasses import dataclass

from ..activations.settings import Stream


@dataclass(frozen=True)
class ScoresTableSettings:
    streams: tuple[Stream, ...]
    code: dict[str, str]
