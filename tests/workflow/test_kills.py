"""Jobs and drivers killed -9 in a real run: after `--unlock` and the same command, the SAEs are the same bytes."""

import random

import pytest

from checkout import Checkout, copy_data, copy_workflow
from interrupted import CONFIG, kill, published, trainer_process, wait_for_checkpoints


@pytest.fixture(scope="module")
def start(tmp_path_factory, model_folders):
    """Makes a checkout with model, corpus and tokens, but no SAE."""
    first = Checkout(tmp_path_factory.mktemp("start"), CONFIG)
    copy_workflow(first.folder)
    copy_data(first.folder, model_folders)
    output = first.snakemake("results/tiny/neox/tokens/manifest.json")
    assert first.status == 0, output
    return first.copy_to


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory) -> dict[str, bytes]:
    checkout = start(tmp_path_factory.mktemp("uninterrupted") / "checkout")
    output = checkout.snakemake("saes")
    assert checkout.status == 0, output
    return published(checkout)


@pytest.mark.parametrize("victims", ["job", "driver", "driver and job"])
def test_killed_and_started_again(victims, start, uninterrupted, tmp_path):
    checkout = start(tmp_path / "checkout")
    moments = random.Random(victims)
    kills = 0
    for _ in range(3):
        driver = checkout.start("saes")
        if not wait_for_checkpoints(checkout, driver, moments.randint(1, 8)):
            break
        job = trainer_process(checkout)
        if "driver" in victims:
            kill(driver.pid)
        if "job" in victims:
            kill(job)
        driver.wait()
        kills += 1
        # A killed driver's job lives on, and the next driver's job waits for it.
        output = checkout.snakemake("saes", "--unlock")
        assert checkout.status == 0, output
    output = checkout.snakemake("saes")
    assert checkout.status == 0, output
    assert kills >= 1
    assert published(checkout) == uninterrupted
    assert checkout.planned("saes") == {}
