"""Faster imports of SAEBench, which every scoring job waits for: SAELens' list alone was 1.3 of 5.6 seconds."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """On import, SAEBench reads SAELens' list of SAEs on the hub, for its command line only; and Python's garbage
    collector goes through a million new objects again and again, all of which stay."""
    collecting = gc.isenabled()
    gc.disable()
    from sae_lens.loading import pretrained_saes_directory

    read_list = pretrained_saes_directory.get_pretrained_saes_directory
    pretrained_saes_directory.get_pretrained_saes_directory = dict
    try:
        yield
    finally:
        pretrained_saes_directory.get_pretrained_saes_directory = read_list
        if collecting:
            gc.enable()
