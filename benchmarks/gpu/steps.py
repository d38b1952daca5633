"""The kit's steps. Each calls the library as a job of the workflow does, checks what came out, and measures.

    python steps.py "stream pythia-shape" [--small]

runs one in the current folder, where what came before lies, and writes steps/stream_pythia-shape.json. Each step
imports what it needs itself, since a process for each makes imports most of the time at small size.
"""

import json
import logging
import os
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faster
import scoring
import training
from configuration import configuration
from device import total_gigabytes
from given import Found, Kit, Wrong

from maskedsae.experiment import settings as settings_of
from maskedsae.jobs.device import check_device
from maskedsae.jobs.errors import InputError, first_line
from maskedsae.jobs.files import write_json
from maskedsae.jobs.log import log
from maskedsae.jobs.provenance import provenance

SEED, CHARACTERS = 0, 3_000_000  # of the corpus


def machine(kit: Kit) -> Found:
    check_device(kit.device, kit.config.training.autocast)
    origin, total = provenance(kit.device), total_gigabytes(kit.device)
    versions = origin["versions"]
    words = origin["device"] + (f", {total:.0f} GB" if total else "") + f"; Python {versions['python']}, "
    words += f"torch {versions['torch']}" + (f", CUDA {versions['cuda']}" if versions["cuda"] else "")
    return Found(words, origin | {"device_gigabytes": total, "cores": os.cpu_count()})


def models(kit: Kit) -> Found:
    """Text, tokenizers, random weights, and the text in tokens."""
    from shapes import FAMILIES, VOCABULARY, make_model

    from maskedsae.activations.language_models import write_facts
    from maskedsae.activations.tokenising import tokenise
    from maskedsae.world.text import write_corpus
    from maskedsae.world.tokenizer import train_tokenizer

    write_corpus(kit.corpus, CHARACTERS, SEED)
    size, parameters = "small" if kit.small else "full", {}
    for entry in kit.config.models:
        assert entry.path is not None
        folder = Path(entry.path)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer = train_tokenizer(kit.corpus, folder, FAMILIES[entry.name], VOCABULARY[size])
        model = make_model(entry.name, tokenizer, size, entry.dtype, kit.device)
        model.save_pretrained(folder)
        parameters[entry.name] = model.num_parameters()
        del model
        write_facts(kit.facts(entry.name), settings_of.model_settings(kit.config, entry.name))
        tokens_to, settings = kit.tokens(entry.name), settings_of.token_settings(kit.config)
        tokenise(tokens_to, kit.facts(entry.name), settings, kit.config.compute)
    words = ", ".join(f"{name} {count / 1e6:,.1f}M parameters" for name, count in parameters.items())
    return Found(words, {"parameters": parameters})


STEPS: dict[str, Callable[..., Found]] = {
    "machine": machine,
    "models": models,
    "agreement": training.agreement,
    "stream": training.stream,
    "steps": faster.steps,
    "train": training.train,
    "resume": training.resume,
    "texts": scoring.texts,
    "shared": scoring.shared,
    "scores": scoring.scores,
    "ood": scoring.ood,
}


def in_words(error: Exception) -> str:
    """One line: our own errors as they are, others with the place."""
    if isinstance(error, InputError | Wrong):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(where.filename).name} line {where.lineno}: {first_line(error)}"


def main() -> None:
    name, *options = sys.argv[1:]
    what, *arguments = name.split()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    outcome: dict[str, Any]
    try:
        kit = Kit(configuration("--small" in options), "--small" in options)
        found = STEPS[what](kit, *arguments)
        outcome = {"outcome": "passed", "words": found.words, "numbers": found.numbers}
    except Exception as error:
        log.exception("failed")
        outcome = {"outcome": "failed", "words": in_words(error), "numbers": {}}
    outcome["host_gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    write_json(Path("steps", f"{name.replace(' ', '_')}.json"), outcome)
    print(json.dumps(outcome))
    sys.exit(outcome["outcome"] != "passed")


if __name__ == "__main__":
    main()
