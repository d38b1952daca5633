"""SAEBench's result files for an SAE as others published them, in one file: published.json.

Each is kept whole, but for core's numbers of single latents and the evals' free texts, which are megabytes.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...jobs.errors import InputError
from ...jobs.files import read_json, sha256, write_json
from ...jobs.hub import Repository
from ...jobs.log import log
from ...saes.cells import Imported, sae_of
from ...saes.imported.settings import PublishedScores
from ..settings import PublishedSettings
from ..table import saebench_numbers
from .names import EVALS

# How SAEBench's files call their eval.
TYPES = {"absorption_first_letter": "absorption"} | {name: name for name in EVALS if name != "absorption"}
LEGACY, VARIANCE = "core.explained_variance_legacy", "core.explained_variance"
IN_A_BATCH = {"batch_size_prompts", "context_size"}  # core divides its mse by the number of tokens in a batch


@dataclass(frozen=True)
class Result:
    """What an eval gave elsewhere."""

    source: str  # its file
    content: dict[str, Any]


def write_published(output: str | Path, files: Sequence[str], settings: PublishedSettings) -> None:
    """`files`: the local ones, if they are local. An eval that the hub does not have gets the file that was sought."""
    sae, given = sae_of(output), settings.published
    assert isinstance(sae, Imported)
    key = f"saes: {sae.sae}: published"
    found: dict[str, Any] = {}
    lacking: dict[str, str] = {}
    for source, path in _local(files) if given.path is not None else _fetched(given, key, lacking):
        content = _content(path)
        name = TYPES.get(str(content.get("eval_type_id")))
        if name is None:  # one that is not run here
            continue
        if name in found:
            raise InputError(
                f"{key}.path: two files are results of {name} ({found[name]['source']}, {source}): name a folder that "
                "has this SAE's alone"
            )
        found[name] = {"source": source, "sha256": sha256(path), "result": _kept(content, name)}
    if not found:
        raise InputError(f"{key}.path: {given.path} has no result of {', '.join(EVALS)}: correct it")
    found |= {name: {"not_there": file} for name, file in lacking.items() if name not in found}
    write_json(output, {name: found[name] for name in EVALS if name in found})
    log.info("%s: published scores of %s", sae.words, ", ".join(name for name in found if name not in lacking))


def _local(files: Sequence[str]) -> Iterator[tuple[str, Path]]:
    return ((file, Path(file)) for file in files)


def _fetched(given: PublishedScores, key: str, lacking: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """Those that the repository has, at one commit; `lacking` gets the others."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name_of_it = given.repository
    assert name_of_it is not None
    repository = Repository("dataset", name_of_it, given.revision, f"{key}.repository", f"{key}.revision")
    commit, found = repository.commit(), 0

    def get(file: str) -> str:
        return repository.fetch(lambda: hf_hub_download(name_of_it, file, repo_type="dataset", revision=commit))

    for name in EVALS:
        file = f"{name}/{given.folder}/{given.folder}_{given.sae}_eval_results.json"
        try:
            path = get(file)
        except InputError as error:
            if not isinstance(error.__cause__, EntryNotFoundError):
                raise
            lacking[name] = f"{given.repository}@{commit}:{file}"
            continue
        found += 1
        yield f"{given.repository}@{commit}:{file}", Path(path)
    if not found:
        raise InputError(
            f"{key}: {given.repository} has no {{eval}}/{given.folder}/{given.folder}_{given.sae}_eval_results.json "
            f"(commit {commit}): correct folder or sae"
        )


def _content(path: Path) -> dict[str, Any]:
    try:
        content: Any = read_json(path)
    except InputError:
        content = None
    if not isinstance(content, dict) or not {"eval_result_metrics", "eval_config"} <= content.keys():
        raise InputError(f"{path}: is no result file of SAEBench: remove it, or correct published")
    return dict(content)


def _kept(content: dict[str, Any], name: str) -> dict[str, Any]:
    left_out = {"eval_result_unstructured"} | ({"eval_result_details"} if name == "core" else set())
    return {key: value for key, value in content.items() if key not in left_out}


def read_published(path: str | Path) -> dict[str, Result]:
    """{eval: what was published}"""
    return {
        name: Result(found["source"], found["result"]) for name, found in read_json(path).items() if "result" in found
    }


def read_lacking(path: str | Path) -> dict[str, str]:
    """{eval: the file that was looked for in vain}"""
    return {name: found["not_there"] for name, found in read_json(path).items() if "not_there" in found}


def numbers(name: str, result: Result) -> dict[str, float]:
    """{metric, as in scores.csv: value}. The files of January 2025 have one explained variance, by the formula that is
    now called legacy."""
    try:
        found = {f"{name}.{key}": value for key, value in saebench_numbers(result.content, name)}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{result.source}: does not have the form of {name} scores ({error!r})") from error
    if name == "core" and LEGACY not in found and VARIANCE in found:
        found[LEGACY] = found.pop(VARIANCE)
    return found


def unlike(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, str]:
    """What differs between two result files of one eval, in words by key: its settings, and SAELens' version."""
    pairs = [("sae_lens_version", ours.get("sae_lens_version"), theirs.get("sae_lens_version"))]
    one, other = ours["eval_config"], theirs["eval_config"]
    pairs += [(key, one.get(key, "not there"), other.get(key, "not there")) for key in {**one, **other}]
    return {key: f"{key} (ours {_short(a)}, theirs {_short(b)})" for key, a, b in pairs if a != b}


def no_difference(metric: str, values: Collection[float], differing: Collection[str]) -> str:
    """Why two values of a metric are not of one quantity, where these settings differ; "" if they are."""
    if is_redefined(metric):
        return "redefined in SAEBench 0.4.1"
    if metric == "core.mse" and IN_A_BATCH.intersection(differing):
        return "divided by the number of tokens in a batch, which differs"
    if metric.startswith("core.") and -1 in values:
        return "-1 is how SAEBench writes NaN"
    return ""


def is_redefined(metric: str) -> bool:
    """The absorption fraction, of each letter, its mean and its spread. Up to SAEBench 0.4.0 it counted every latent
    but the letter's own; since 0.4.1 at most three, of those that are aligned with the letter's probe."""
    return metric.startswith("absorption.") and "absorption_fraction" in metric


def _short(value: object) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
