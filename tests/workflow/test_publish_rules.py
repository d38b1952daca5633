"""Target publish, run by Snakemake: only if it is asked for, and only where the configuration names a repository."""

from pathlib import Path

import pytest

from checkout import Checkout, copy_data, copy_workflow
from hub import TOKEN, Hub
from published import REPOSITORY, config_of, write_finished

RULES = ("scores_table", "model_card", "publish")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, cells, model_folders) -> Checkout:
    folder = tmp_path_factory.mktemp("finished")
    copy_workflow(folder)
    copy_data(folder, model_folders)
    kinds = ["matryoshka_batch_topk", "jumprelu"]
    write_finished(folder, {kind: cells[kind] for kind in kinds})
    made = Checkout(folder, config_of(kinds))
    made.profile = ["--profile", "profiles/local", "--quiet", "host", "--allowed-rules", *RULES]
    return made


def test_without_a_repository_the_target_says_so_at_once(checkout):
    unnamed = Checkout(checkout.folder, checkout.config | {"publish": None})
    output = unnamed.snakemake("publish")
    assert unnamed.status != 0
    assert "error: configuration: publish: null: nothing is sent unless it names a repository" in output
    assert output.count("localrule ") == 1 and "Traceback" not in output


def test_no_other_target_publishes(checkout):
    output = Checkout(checkout.folder, checkout.config).snakemake("--dry-run", "all", "grid")
    assert "rule report:" in output and "rule train_" in output
    assert "publish" not in output and "model_card" not in output


def test_it_sends_the_run_and_then_has_nothing_to_do(checkout, tmp_path, monkeypatch):
    hub = Hub()
    hub.storage = tmp_path / "storage"
    hub.storage.mkdir()
    for name, value in hub.start().environment(tmp_path / "home", HF_TOKEN=TOKEN, HF_HUB_DISABLE_XET="1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    try:
        previewed = checkout.snakemake("model_card")
        assert checkout.status == 0, previewed
        assert hub.requests == []
        output = checkout.snakemake("publish")
        assert checkout.status == 0, output
        again = checkout.snakemake("publish")
    finally:
        hub.stop()
    repository = hub.repositories["models", REPOSITORY]
    card = Path(checkout.folder, "results/tiny/publish/README.md")
    assert repository.newest["README.md"].read_bytes() == card.read_bytes()
    assert len(repository.newest) == 1 + 3 + 2 * 7
    assert "Nothing to be done" in again
    assert TOKEN not in output + Path(checkout.folder, "results/tiny/logs/publish.log").read_text()
