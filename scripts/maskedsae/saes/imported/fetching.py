"""An SAE of the hub, as files beside its results: a commit that does not change, and no network later."""

from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from ...jobs.errors import InputError
from ...jobs.files import read_json, sha256, write_bytes, write_json
from ...jobs.hub import Repository
from ...jobs.log import log
from ...jobs.typed import plain
from ..cells import Imported
from .described import (
    DICTIONARY_LEARNING,
    SAELENS,
    Expected,
    check_agrees,
    described,
    of_dictionary_learning,
    of_saelens,
)
from .settings import FetchSettings, HubFolder, Release


def fetch_job(output: str | Path, model_file: str | Path, settings: FetchSettings) -> None:
    """`output` is source/manifest.json; the SAE's files are written beside it, and the manifest last. If there is one
    of the same origin, its commit is taken again: a finished SAE stays what it was."""
    sae, expected, output = Imported.parse(output), Expected.of(model_file), Path(output)
    key, origin, folder = f"saes: {sae.sae}: from", settings.origin, output.parent
    before = read_json(output) if output.exists() else {}
    known = before["commit"] if before.get("from") == plain(origin) else None
    folder.mkdir(parents=True, exist_ok=True)
    names = SAELENS if origin.dictionary_learning is None else DICTIONARY_LEARNING
    for file in folder.iterdir():
        if file.name not in (output.name, *names):  # of the other format
            file.unlink()
    if origin.dictionary_learning is not None:
        found = from_folder(folder, origin.dictionary_learning, known, expected, f"{key}.dictionary_learning")
    else:
        assert origin.saelens is not None
        found = from_release(folder, origin.saelens, known, expected, f"{key}.saelens")
    write_json(output, {"from": plain(origin)} | found | {"files": {name: sha256(folder / name) for name in names}})
    log.info("%s: from %s at %s", sae.words, found["repository"], found["commit"])


def from_folder(folder: Path, given: HubFolder, known: str | None, expected: Expected, key: str) -> dict[str, Any]:
    """The two files of dictionary_learning's format; the configuration first, since it may refuse."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    repository = Repository("model", given.repository, known or given.revision, f"{key}.repository", f"{key}.revision")
    commit = repository.commit()
    for name in reversed(DICTIONARY_LEARNING):
        file = f"{given.folder.strip('/')}/{name}".removeprefix("./")
        try:
            path = repository.fetch(partial(hf_hub_download, given.repository, file, revision=commit))
        except InputError as error:
            if isinstance(error.__cause__, EntryNotFoundError):
                raise InputError(
                    f"{key}.folder: {given.repository} has no {file} (commit {commit}): correct it"
                ) from error
            raise
        write_bytes(folder / name, Path(path).read_bytes())
        if name == "config.json":
            check_agrees(of_dictionary_learning(read_json(folder / name), file), expected)
    return {"repository": given.repository, "commit": commit, "folder": given.folder}


def from_release(folder: Path, given: Release, known: str | None, expected: Expected, key: str) -> dict[str, Any]:
    """As SAELens loads it, with the scaling of its list folded in, saved in its own format."""
    from sae_lens import SAE
    from sae_lens.loading.pretrained_sae_loaders import load_sae_config_from_huggingface
    from sae_lens.loading.pretrained_saes_directory import (
        get_norm_scaling_factor,
        get_pretrained_saes_directory,
        get_repo_id_and_folder_name,
    )

    releases = get_pretrained_saes_directory()
    if given.release not in releases and "/" not in given.release:
        hint = _hint(given.release, list(releases))
        raise InputError(f"{key}.release: SAELens has no {given.release}, nor is it a repository of the hub{hint}")
    if given.release in releases and given.id not in (ids := list(releases[given.release].saes_map)):
        raise InputError(
            f"{key}.id: {given.release} has no {given.id}{_hint(given.id, ids)}: it has {', '.join(ids[:5])}, …"
        )
    name, inside = get_repo_id_and_folder_name(given.release, given.id)
    repository = Repository("model", name, None, f"{key}.release", f"{key}.id")
    commit = repository.commit()
    if known not in (None, commit):
        raise InputError(
            f"{key}.release: {name} was fetched at {known} and is now at {commit}, and SAELens reads the newest only: "
            f"remove {folder} to take that one"
        )
    config = repository.fetch(lambda: load_sae_config_from_huggingface(given.release, given.id))
    check_agrees(of_saelens(config, f"{given.release} {given.id}"), expected)
    sae = repository.fetch(lambda: SAE.from_pretrained(given.release, given.id, device="cpu", dtype="float32"))
    if repository.commit() != commit:  # SAELens always reads the newest
        raise InputError(f"{key}.release: {name} changed while it was read: run the same command again")
    sae.save_model(folder)
    check_agrees(described(folder), expected)
    # SAELens scales by it, where it knows a factor, in from_pretrained.
    scaled = get_norm_scaling_factor(given.release, given.id) if config.get("normalize_activations") != "none" else None
    return {"repository": name, "commit": commit, "folder": inside, "scaling": scaled}


def _hint(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
