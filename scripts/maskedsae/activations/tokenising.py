"""The corpus as the contexts of one language model."""

from pathlib import Path

from ..jobs.compute import Compute
from ..jobs.leases import Lease
from ..text.packing import write_tokens
from ..text.settings import TokenSettings
from .language_models import read_facts, tokenizer_of


def tokenise(manifest: str | Path, facts_file: str | Path, settings: TokenSettings, compute: Compute) -> None:
    """Pack the corpus for a model; `manifest` is the file that is written last."""
    facts, folder = read_facts(facts_file), Path(manifest).parent
    with Lease(folder) as lease:
        threads = compute.token_threads
        write_tokens(folder, tokenizer_of(facts), settings, facts.bos, threads=threads, check=lease.check)
