"""SAEs of the hub, over real HTTP with the real clients: what arrives is what was there, and later jobs need no hub."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from sae_lens import SAE

from conftest import model_settings
from hub import Hub
from imported_saes import HOOK, write_dictionary_learning, write_saelens
from maskedsae.activations.language_models import write_facts
from maskedsae.saes.cells import Imported

USER = Path(__file__).parents[1] / "hub_user.py"
OF_DICTIONARY_LEARNING, OF_SAELENS, MOVING = "someone/saes", "someone/lens", "someone/moving"
# A release of SAELens' list that has a scaling factor, and a path of it. The files are stand-ins.
RELEASE, ID, REPOSITORY, INSIDE, FACTOR = (
    *("gpt2-small-mlp-tm", "blocks.0.hook_mlp_out", "tommmcgrath/gpt2-small-mlp-out-saes"),
    *("sae_group_gpt2_blocks.0.hook_mlp_out_24576:v1", 1.049317316132615),
)
TRAINER = "resid_post_layer_1/trainer_0"


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    folder, hub = tmp_path_factory.mktemp("hub"), Hub().start()
    write_dictionary_learning(folder / "a" / TRAINER, "BatchTopKSAE")
    write_dictionary_learning(folder / "a" / "resid_post_layer_5" / "trainer_0", "BatchTopKSAE", layer=5)
    hub.commit("models", OF_DICTIONARY_LEARNING, folder / "a")
    write_dictionary_learning(folder / "new" / TRAINER, "AutoEncoderTopK")
    hub.commit("models", OF_DICTIONARY_LEARNING, folder / "new")
    write_saelens(folder / "b" / "layer_1", "jumprelu", apply_b_dec_to_input=False)
    hub.commit("models", OF_SAELENS, folder / "b")
    write_saelens(folder / "c" / INSIDE, "standard", normalize_activations="expected_average_only_in")
    hub.commit("models", REPOSITORY, folder / "c")
    yield hub
    hub.stop()


def commits(hub: Hub, name: str) -> list[str]:
    return list(hub.repositories["models", name].commits)


def of_dictionary_learning(folder: str, repository: str = OF_DICTIONARY_LEARNING, revision: str | None = None) -> dict:
    return {"dictionary_learning": {"repository": repository, "folder": folder, "revision": revision}}


def of_saelens(release: str, name: str) -> dict:
    return {"saelens": {"release": release, "id": name}}


@dataclass
class User:
    """Someone with an own HF_HOME, who has a model and its tokens."""

    hub: Hub
    folder: Path
    tokens: Path
    refused: list[str] = field(default_factory=list)

    def run(self, *steps: list, **environment: str) -> list[str]:
        """In one process; the errors."""
        given = self.hub.environment(self.folder / "home", OMP_NUM_THREADS="1", **environment)
        given["PYTHONPATH"] += f":{USER.parent}"
        done = subprocess.run(
            [sys.executable, str(USER)],
            input=json.dumps(steps),
            env=given,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [line.removeprefix("error: ") for line in done.stdout.splitlines() if line.startswith("error: ")]

    def fetch(self, name: str, origin: dict) -> list:
        manifest = str(Imported("tiny", "tiny", name).folder / "source" / "manifest.json")
        return ["fetch_sae", {"origin": origin, "code": {}}, "model.json", manifest]

    def make(self, name: str, origin: dict) -> list:
        settings = {"origin": origin, "dtype": "float32", "lm_batch": 4, "code": {}}
        file = str(Imported("tiny", "tiny", name).folder / "sae" / "ae.pt")
        return ["import_sae", settings, "model.json", str(self.tokens / "manifest.json"), file]

    def sae(self, name: str) -> Path:
        return self.folder / Imported("tiny", "tiny", name).folder / "sae"

    def source(self, name: str) -> dict:
        return json.loads((self.sae(name).parent / "source" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def user(hub, tmp_path_factory, model_folders, tokens_folders) -> User:
    """Who has fetched SAEs in one process, and made them ours in another one, which asked no hub."""
    folder = tmp_path_factory.mktemp("user")
    write_facts(folder / "model.json", model_settings("gpt_neox", model_folders["gpt_neox"]))
    user = User(hub, folder, tokens_folders["gpt_neox"])
    origins = {
        "newest": of_dictionary_learning(TRAINER),
        "pinned": of_dictionary_learning(TRAINER, revision=commits(hub, OF_DICTIONARY_LEARNING)[0]),
        "lens": of_saelens(OF_SAELENS, "layer_1"),
        "listed": of_saelens(RELEASE, ID),
    }
    wrong = [
        of_dictionary_learning("trainer_9"),
        of_dictionary_learning("resid_post_layer_5/trainer_0", revision=commits(hub, OF_DICTIONARY_LEARNING)[0]),
        of_dictionary_learning(TRAINER, revision="v2"),
        of_dictionary_learning(TRAINER, "someone/else"),
        of_saelens("gpt2-small-mlp-tn", ID),
        of_saelens(RELEASE, "blocks.0.hook_mlp_ou"),
    ]
    fetched = [user.fetch(name, origin) for name, origin in origins.items()]
    user.refused = user.run(*fetched, *(user.fetch("wrong", origin) for origin in wrong))
    asked = len(hub.requests)
    assert user.run(*(user.make(name, origin) for name, origin in origins.items()), A_LATER_JOB="1") == []
    assert len(hub.requests) == asked
    return user


def there(hub: Hub, repository: str, file: str, number: int = -1) -> Path:
    return hub.repositories["models", repository].commits[commits(hub, repository)[number]][file].parent


@pytest.mark.parametrize(("name", "number"), [("pinned", 0), ("newest", 1)])
def test_a_folder_of_dictionary_learning_is_that_of_its_commit(hub, user, name, number):
    assert user.source(name)["commit"] == commits(hub, OF_DICTIONARY_LEARNING)[number]
    origin = json.loads((user.sae(name) / "provenance.json").read_text())["origin"]
    assert origin["source"] == user.source(name) and origin["files"] == user.source(name)["files"]
    source = there(hub, OF_DICTIONARY_LEARNING, f"{TRAINER}/ae.pt", number)
    theirs, ours = (torch.load(folder / "ae.pt") for folder in (source, user.sae(name)))
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in theirs)


@pytest.mark.parametrize(
    ("name", "repository", "inside", "factor"),
    [("lens", OF_SAELENS, "layer_1", None), ("listed", REPOSITORY, INSIDE, FACTOR)],
)
def test_an_sae_that_saelens_loads_computes_the_same_with_the_scaling_of_its_list(
    hub, user, name, repository, inside, factor
):
    source = user.source(name)
    found = tuple(source[key] for key in ("repository", "folder", "commit", "scaling"))
    assert found == (repository, inside, commits(hub, repository)[-1], factor)
    theirs = SAE.load_from_disk(there(hub, repository, f"{inside}/cfg.json"))
    ours, scale = SAE.load_from_disk(user.sae(name)), factor or 1
    rows = 0.1 * torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    # Scaling and decoder norms are divided out of the weights.
    torch.testing.assert_close(ours(rows), theirs(scale * rows) / scale, rtol=1e-5, atol=1e-6)
    assert json.loads((user.sae(name) / "cfg.json").read_text())["metadata"]["hook_name"] == HOOK


def test_a_source_that_is_fetched_again_stays_at_its_commit(hub, user, tmp_path):
    """Both repositories move on in between. What SAELens reads cannot stay, so it is refused."""
    origins = {"mine": of_dictionary_learning(TRAINER, MOVING), "ours": of_saelens(MOVING, "layer_1")}
    write_dictionary_learning(tmp_path / "a" / TRAINER, "BatchTopKSAE")
    write_saelens(tmp_path / "a" / "layer_1", "jumprelu")
    hub.commit("models", MOVING, tmp_path / "a")
    steps = [user.fetch(name, origin) for name, origin in origins.items()]
    assert user.run(*steps) == []
    first = {name: user.source(name) for name in origins}
    write_dictionary_learning(tmp_path / "b" / TRAINER, "AutoEncoderTopK")
    hub.commit("models", MOVING, tmp_path / "b")
    old, new = commits(hub, MOVING)
    again = [*steps, user.fetch("mine", of_dictionary_learning(TRAINER, MOVING, new))]
    lines = user.run(*again[:2])
    assert {name: user.source(name) for name in origins} == first and first["mine"]["commit"] == old
    assert lines == [
        f"saes: ours: from.saelens.release: {MOVING} was fetched at {old} and is now at {new}, and SAELens reads the "
        "newest only: remove results/tiny/tiny/imported/ours/source to take that one"
    ]
    assert (user.sae("ours").parent / "source" / "sae_weights.safetensors").exists()  # nothing is lost by it
    assert user.run(again[2]) == [] and user.source("mine")["commit"] == new  # another revision is asked for


def test_what_is_not_there_or_does_not_fit_ends_in_one_line(hub, user):
    key, newest = "saes: wrong: from", commits(hub, OF_DICTIONARY_LEARNING)[-1]
    starts = [
        f"{key}.dictionary_learning.folder: {OF_DICTIONARY_LEARNING} has no trainer_9/config.json (commit {newest}): ",
        "resid_post_layer_5/trainer_0/config.json: the SAE reads layer 5, and of tiny-gpt_neox layer 1 is read: ",
        f"{key}.dictionary_learning.revision: {OF_DICTIONARY_LEARNING} has no revision 'v2': ",
        f"{key}.dictionary_learning.repository: the hub has no model someone/else",
        f"{key}.saelens.release: SAELens has no gpt2-small-mlp-tn, nor is it a repository of the hub (did you mean ",
        f"{key}.saelens.id: {RELEASE} has no blocks.0.hook_mlp_ou (did you mean {ID}?): it has {ID}, ",
    ]
    assert [line[: len(start)] for line, start in zip(user.refused, starts, strict=True)] == starts
    assert not hub.asked("layer_5/trainer_0/ae.pt")  # the configuration has refused already
