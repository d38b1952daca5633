"""What an audit depends on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Audit:
    """Section `audit` of the configuration: how often, and from which value on a point fires."""

    every: int  # steps
    dormant_below: float  # the running mean of a latent's activation: one of saes/watching.py's levels
    dead: float  # a share of the latents
    converged_at: float  # a share of the steps
    variance_rise: float
    l1: float
    decoder_norm: float
    masked: float  # a share of the latents
    alerts: float  # a share of the rows on which the probe's threshold is set
    false_positive_rise: float


@dataclass(frozen=True)
class AuditSettings:
    audit: Audit
    code: dict[str, str]
