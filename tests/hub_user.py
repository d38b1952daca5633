"""In a process of its own, with a hub at HF_ENDPOINT: steps that are read as JSON, as the rules' jobs do them.

It says of each what went wrong, and ends with the seconds that it would have waited: waiting is cut short.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from maskedsae.jobs.entry import job
from maskedsae.jobs.errors import InputError
from maskedsae.jobs.typed import read

sleep, waits = time.sleep, []


def short_sleep(seconds: float) -> None:
    if seconds >= 1:
        waits.append(seconds)
    sleep(min(seconds, 0.01))


time.sleep = short_sleep


def login(token: str | None) -> None:
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token


def model(settings: dict, path: str) -> None:
    from maskedsae.activations.language_models import write_facts
    from maskedsae.activations.settings import ModelSettings

    write_facts(path, read(ModelSettings, settings))


def tokens(settings: dict, facts_file: str, folder: str, kill_at: int = 0) -> None:
    """`kill_at`: by SIGKILL, before its so manieth file."""
    from maskedsae.activations.language_models import read_facts, tokenizer_of
    from maskedsae.text.packing import write_tokens
    from maskedsae.text.settings import TokenSettings

    checks = []

    def check() -> None:
        checks.append(1)
        if len(checks) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    facts = read_facts(facts_file)
    write_tokens(folder, tokenizer_of(facts), read(TokenSettings, settings), facts.bos, shard_contexts=200, check=check)


def use(facts_file: str) -> None:
    """What every later job loads: the cut model, its tokenizer and its length."""
    from maskedsae.activations.language_models import LanguageModel, longest_text, read_facts, tokenizer_of

    facts = read_facts(facts_file)
    weights = LanguageModel(facts, "float32", "cpu")._model.state_dict()
    total = sum(float(weight.abs().sum()) for weight in weights.values())
    print(f"used: {facts.commit} {longest_text(facts)} {len(tokenizer_of(facts))} {total:.4f}")


def saebench_data(settings: dict, folder: str) -> None:
    from maskedsae.scores.saebench.fetching import write_data
    from maskedsae.scores.saebench.settings import Texts

    write_data(Path(folder) / "manifest.json", read(Texts, settings))


def upload(sums_file: str, settings: dict, to: str) -> None:
    from maskedsae.report.settings import UploadSettings
    from maskedsae.report.upload import upload

    upload(sums_file, read(UploadSettings, settings), to)


def fetch_sae(settings: dict, facts_file: str, manifest: str) -> None:
    from maskedsae.saes.imported.fetching import fetch_job
    from maskedsae.saes.imported.settings import FetchSettings

    fetch_job(manifest, facts_file, read(FetchSettings, settings))


def import_sae(settings: dict, facts_file: str, tokens_manifest: str, file: str) -> None:
    from conftest import COMPUTE
    from maskedsae.saes.imported.make import import_job
    from maskedsae.saes.imported.settings import ImportSettings

    import_job(file, facts_file, tokens_manifest, read(ImportSettings, settings), COMPUTE)


STEPS = {step.__name__: step for step in (login, model, tokens, use, saebench_data, upload, fetch_sae, import_sae)}

if __name__ == "__main__":
    given = SimpleNamespace(log=[f"{os.environ['HF_HOME']}/job.log"], resources={})
    with job(given, fetches="A_LATER_JOB" not in os.environ):
        for name, *arguments in json.load(sys.stdin):
            try:
                STEPS[name](*arguments)
            except InputError as error:
                print(f"error: {error}")
    print(f"waited: {sum(waits):.0f}")
