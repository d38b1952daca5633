"""What scores.csv and published.json depend on, besides their files."""

from dataclasses import dataclass

from ..activations.settings import Stream
from ..saes.imported.settings import PublishedScores


@dataclass(frozen=True)
class ScoresTableSettings:
    streams: tuple[Stream, ...]
    code: dict[str, str]


@dataclass(frozen=True)
class PublishedSettings:
    """Where the scores are that others published of an SAE."""

    published: PublishedScores
    code: dict[str, str]
