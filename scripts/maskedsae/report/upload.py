"""Sending finished SAEs to a repository of the Hugging Face hub, where SAELens and dictionary_learning load them from.

An SAE's folder there is its cell's, without results/{run}/ and sae/. The list of all files is SHA256SUMS.
"""

from pathlib import Path

from ..jobs.errors import InputError
from ..jobs.files import read_sums, sha256, write_json
from ..jobs.hub import Destination
from ..jobs.log import log
from .settings import Publish, UploadSettings

SUMS = "SHA256SUMS"


def destination(publish: Publish | None) -> Publish:
    if publish is None:
        raise InputError(
            "configuration: publish: null: nothing is sent unless it names a repository: "
            "publish: {repository: owner/name}"
        )
    return publish


def path_of(name: str, run: Path) -> Path:
    """Where the file that has this name in the repository is in a run's folder."""
    folder, _, file = name.rpartition("/")
    if folder:
        return run / folder / "sae" / file
    return run / name if name == "scores.csv" else run / "publish" / name


def check(path: Path, expected: str, listed_in: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: missing: ask Snakemake for it before it is published")
    if sha256(path) != expected:
        raise InputError(
            f"{path}: is not the file whose checksum is in {listed_in}: it is truncated or altered: remove it so that "
            "it is made again"
        )


def upload(sums_file: str, settings: UploadSettings, to: str | Path) -> None:
    """All files of the list, in one commit."""
    publish = destination(settings.publish)
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        raise InputError("publish: no token for the hub: run `hf auth login` with one that may write, or set HF_TOKEN")
    sums, run = Path(sums_file), Path(sums_file).parents[1]
    files = {name: path_of(name, run) for name in read_sums(sums)}
    for name, expected in read_sums(sums).items():
        check(files[name], expected, sums)
    files[SUMS] = sums

    repository = Destination("model", publish.repository, None, "publish.repository", "")
    api, name = HfApi(), publish.repository
    repository.fetch(lambda: api.create_repo(name, private=publish.private, exist_ok=True))
    is_private = bool(repository.fetch(lambda: api.repo_info(name)).private)
    if is_private != publish.private:
        there, here = ("private", "false") if is_private else ("public", "true")
        raise InputError(
            f"publish.private: {here}, but {name} is {there} on the hub: nothing was sent: change one of the two"
        )
    megabytes = sum(path.stat().st_size for path in files.values()) / 1e6
    log.info("%s: %d files, %.0f MB; what is there already is not sent again", name, len(files), megabytes)

    def commit() -> str:
        # New ones for each attempt: they remember what the hub said in the last one.
        added = [CommitOperationAdd(place, path) for place, path in files.items()]
        return str(api.create_commit(name, added, commit_message=f"SAEs of the run {run.name}").oid)

    made = repository.fetch(commit)
    url = f"{api.endpoint}/{name}"
    write_json(to, {"repository": name, "url": url, "commit": made, "private": is_private, "files": len(files)})
    log.info("%s: published at commit %s", url, made)
