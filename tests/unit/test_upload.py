"""Publishing to a hub on loopback with the real client; the real loaders of both libraries load what arrived."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from checkout import ROOT, configuration_of
from hub import READER, TOKEN, Fault, Hub, Repository
from maskedsae.experiment.outputs import card_inputs
from maskedsae.experiment.settings import card_settings, scores_table_settings
from maskedsae.jobs.errors import InputError
from maskedsae.report.model_card import write_card
from maskedsae.saes.cells import Cell
from maskedsae.scores.table import read_rows, write_rows, write_table
from published import REPOSITORY, config_of, write_finished

USER = Path(__file__).parents[1] / "hub_user.py"
CARD, SUMS = "results/tiny/publish/README.md", "results/tiny/publish/SHA256SUMS"
PUBLISHED = "results/tiny/publish/published.json"


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    hub = Hub()
    hub.storage = tmp_path_factory.mktemp("storage")
    yield hub.start()
    hub.stop()


class Run:
    """A finished run, and what its owner does."""

    def __init__(self, folder: Path, hub: Hub, cells: dict[str, Path]):
        self.folder, self.hub, self.kinds = folder, hub, list(cells)
        self.saes = write_finished(folder, cells)
        self.config = configuration_of(config_of(self.kinds))
        files = [*sorted(map(str, Path().glob("results/**/scores/*.json"))), "results/tiny/tiny/oracle.json"]
        write_table("results/tiny/scores.csv", files, scores_table_settings(self.config))
        self.card()

    def card(self, **publish) -> str:
        self.config = configuration_of(config_of(self.kinds, **publish))
        cells = [Cell("tiny", "tiny", "mask30", kind, 8, 0) for kind in self.kinds]
        write_card(card_inputs(self.config, cells, ROOT), card_settings(self.config), CARD, SUMS)
        return Path(CARD).read_text()

    def python(self, *arguments: str, given: str = "", token: str | None = TOKEN) -> subprocess.CompletedProcess:
        known = {"HF_TOKEN": token} if token else {}
        return subprocess.run(
            [sys.executable, *arguments],
            input=given,
            env=self.hub.environment(self.folder / "home", HF_HUB_DISABLE_XET="1", OMP_NUM_THREADS="1", **known),
            capture_output=True,
            text=True,
            check=False,
        )

    def upload(self, token: str | None = TOKEN, **publish) -> list[str]:
        """What went wrong."""
        given = {"repository": REPOSITORY, "private": True, "license": None} | publish
        step = ["upload", SUMS, {"publish": given, "code": {}}, PUBLISHED]
        done = self.python(str(USER), given=json.dumps([step]), token=token)
        assert done.returncode == 0, done.stderr
        self.said = done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("error: ")]

    @property
    def there(self) -> Repository:
        return self.hub.repositories["models", REPOSITORY]


@pytest.fixture
def run(tmp_path, monkeypatch, hub, cells) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    hub.requests.clear()
    yield Run(tmp_path, hub, cells)
    hub.repositories.clear()
    hub.faults.clear()
    for stored in hub.storage.iterdir():
        stored.unlink()


LOAD = """
import re, sys
import torch
from pathlib import Path
from dictionary_learning.utils import load_dictionary
from huggingface_hub import snapshot_download
from sae_lens import SAE

repository, first, *others = sys.argv[1:]
x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
own = {}
card = (Path(snapshot_download(repository, allow_patterns="README.md")) / "README.md").read_text()
for block in re.findall("```python\\n(.*?)```", card, re.DOTALL):
    exec(block, own)
loaded = {first: (own["sae"], own["dictionary"])}
whole = snapshot_download(repository)
for folder in others:
    loaded[folder] = SAE.from_pretrained(repository, folder), load_dictionary(f"{whole}/{folder}", device="cpu")[0]
for folder, (sae, dictionary) in loaded.items():
    here = Path("results/tiny", folder, "sae")
    assert torch.equal(sae(x), SAE.load_from_disk(here)(x))
    assert torch.equal(dictionary(x), load_dictionary(str(here), device="cpu")[0](x))
    assert sae(x).std() > 0
print(whole)
"""


def test_the_card_says_that_scores_csv_has_saes_that_are_not_there(run):
    words = "has every number, and `provenance.json` how each SAE was made."
    assert words in run.card()
    rows = read_rows("results/tiny/scores.csv")
    other = replace(rows[0], stream="imported", p=None, trainer="theirs", l0=None, seed=None)
    write_rows("results/tiny/scores.csv", [*rows, other])
    card = run.card()
    assert words not in card
    assert "has every number, also of 1 other SAE that is not in this repository (imported, or on a" in card


def test_what_is_published_loads_in_both_libraries_as_its_card_says(run):
    assert run.upload() == []
    assert run.there.private
    done = run.python("-c", LOAD, REPOSITORY, *run.saes)
    assert done.returncode == 0, done.stderr
    whole = done.stdout.splitlines()[-1]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=whole, check=True)
    inside = [f"{folder}/{name}" for folder in run.saes for name in SAE_FILES]
    assert set(run.there.newest) == {".gitattributes", "README.md", "SHA256SUMS", "scores.csv", *inside}
    record = json.loads(Path(PUBLISHED).read_text())
    assert record["commit"] == list(run.there.commits)[-1] == Path(whole).name
    assert (record["repository"], record["private"], record["files"]) == (REPOSITORY, True, 3 + len(inside))


SAE_FILES = ("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors")
SAE_FILES += ("SHA256SUMS", "provenance.json", "quality.json")


def test_it_is_one_commit_and_nothing_is_sent_twice(run):
    assert run.upload() == []
    assert len(run.hub.asked("POST .*/commit/")) == 1 and len(run.there.commits) == 2  # the first made the repository
    assert len(run.hub.asked("PUT ")) == 2 * len(run.saes)
    run.hub.requests.clear()
    assert run.upload() == []
    assert not run.hub.asked("PUT |POST .*/commit/") and len(run.there.commits) == 2
    run.card(license="cc-by-4.0")
    assert run.upload() == []
    assert not run.hub.asked("PUT ") and len(run.there.commits) == 3
    assert "license: cc-by-4.0" in run.there.newest["README.md"].read_text()


def test_an_upload_that_breaks_off_goes_on_and_is_seen_whole_or_not_at_all(run):
    run.hub.faults = [Fault("/upload/", 403, times=100), Fault("/commit/", 503, times=2)]
    assert len(run.upload()) == 1
    assert list(run.there.newest) == [".gitattributes"] and not Path(PUBLISHED).exists()
    run.hub.faults = run.hub.faults[1:]
    assert run.upload() == []
    assert "HTTP status 503: trying again in 5 s" in run.said
    assert len(run.there.commits) == 2 and Path(PUBLISHED).exists()


def test_the_token_is_written_nowhere(run):
    assert run.upload() == []
    files = [path for path in [*run.folder.rglob("*"), *run.hub.storage.iterdir()] if path.is_file()]
    assert len(files) > 80
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in run.said and (run.folder / "home/job.log").exists()


def test_what_the_hub_refuses_is_one_line_and_nothing_is_sent(run):
    (no_token,) = run.upload(token=None)
    assert no_token == (
        "error: publish: no token for the hub: run `hf auth login` with one that may write, or set HF_TOKEN"
    )
    assert run.hub.requests == []
    (unknown,) = run.upload(token="hf_of_someone_else")
    assert unknown == (
        f"error: publish.repository: {REPOSITORY}: the hub does not accept your token: run `hf auth login` again, or "
        "correct HF_TOKEN"
    )
    (reader,), (other,) = run.upload(token=READER), run.upload(repository="someone/else")
    assert reader == (
        f"error: publish.repository: {REPOSITORY}: your token may not write there: correct the owner's name, or run "
        "`hf auth login` with a token that may write to that owner's repositories"
    )
    assert other.startswith("error: publish.repository: someone/else: your token may not write there")
    (name,) = run.upload(repository="tester/a--b")
    assert name.startswith("error: publish.repository: tester/a--b cannot be written: Cannot have -- or .. in repo_id")
    assert run.hub.repositories == {} and not run.hub.asked("PUT ")


def test_a_public_repository_is_not_taken_for_a_private_one(run):
    assert run.upload(private=False) == []
    assert not run.there.private
    commits = len(run.there.commits)
    (line,) = run.upload()
    assert line == (
        f"error: publish.private: true, but {REPOSITORY} is public on the hub: nothing was sent: change one of the two"
    )
    assert len(run.there.commits) == commits


def test_only_whole_saes_are_sent(run):
    weights = Path("results/tiny", run.saes[1], "sae/sae_weights.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    (line,) = run.upload()
    assert line == (
        f"error: {weights}: is not the file whose checksum is in {SUMS}: it is truncated or altered: remove it so that "
        "it is made again"
    )
    with pytest.raises(InputError, match=f"is not the file whose checksum is in {weights.with_name('SHA256SUMS')}"):
        run.card()
    weights.unlink()
    (line,) = run.upload()
    assert line == f"error: {weights}: missing: ask Snakemake for it before it is published"
    assert run.hub.requests == []


def test_the_card_says_what_the_files_say(run):
    card = ModelCard(run.card())
    assert card.data.to_dict() == {
        "license": "mit",
        "library_name": "saelens",
        "tags": ["sparse-autoencoder", "saelens", "dictionary_learning", "saebench", "mechanistic-interpretability"],
    }
    head = next(line for line in card.text.splitlines() if line.startswith("| folder"))
    labels = [cell.strip() for cell in head.strip("|").split("|")]
    assert labels[-5:] == ["Mean Full Absorption", "Explained Variance", "Sparse Probing", "TPP", "SCR"]
    for folder in run.saes:
        (line,) = [line for line in card.text.splitlines() if line.startswith(f"| `{folder}`")]
        row = dict(zip(labels, [cell.strip() for cell in line.strip("|").split("|")], strict=True))
        quality = json.loads(Path("results/tiny", folder, "sae/quality.json").read_text())
        assert (row["l0"], row["latents"], row["trained on"]) == (f"{quality['l0']:.1f}", "64", "0.0064M")
        assert row["explained variance, clean text"] == f"{100 * quality['explained_variance']:.2f}"
        assert row["Mean Full Absorption"] == "87.50"  # 1 - 0.125
        assert (row["Sparse Probing"], row["SCR"]) == ("75.00", "20.00")
    provenance = json.loads(Path("results/tiny", run.saes[0], "sae/provenance.json").read_text())
    assert f"Revision of the code: {provenance['revision']}." in card.text
    assert f"torch {provenance['versions']['torch']}," in card.text
    assert "Every number comes from one seed." in card.text and "A demonstration" not in card.text


def test_a_hub_model_and_data_set_are_in_the_metadata(run):
    for folder in run.saes:
        path = Path("results/tiny", folder, "sae/provenance.json")
        provenance = json.loads(path.read_text())
        provenance["settings"]["model_facts"] |= {"hub": "EleutherAI/pythia-160m-deduped", "commit": "c0ffee"}
        path.write_text(json.dumps(provenance))
    settings = card_settings(run.config)
    corpus = {"dataset": "monology/pile-uncopyrighted", "files": None}
    shown = type(settings.shown)(**{**vars(settings.shown), "corpus": corpus, "demo": True})
    cells = [Cell("tiny", "tiny", "mask30", kind, 8, 0) for kind in run.kinds]
    write_card(card_inputs(run.config, cells, ROOT), type(settings)(settings.publish, shown, {}), CARD, SUMS)
    card = ModelCard(Path(CARD).read_text())
    assert card.data.base_model == ["EleutherAI/pythia-160m-deduped"]
    assert card.data.datasets == ["monology/pile-uncopyrighted"]
    assert "**A demonstration.**" in card.text and "(EleutherAI/pythia-160m-deduped at c0ffee)" in card.text


@pytest.mark.parametrize(
    ("publish", "line"),
    [
        (
            {"repository": "saes"},
            'configuration: publish.repository: "saes" is not a repository of the hub: owner/name',
        ),
        ({"private": True}, "configuration: publish.repository: missing: config.yaml shows its default"),
        (
            {"repository": "a/b", "token": "hf_x"},
            "configuration: publish.token: unknown key: known keys here: repository, private, license",
        ),
    ],
)
def test_a_wrong_section_is_one_line(publish, line):
    with pytest.raises(InputError) as raised:
        configuration_of({"publish": publish})
    assert str(raised.value) == line


def test_by_default_nothing_is_named_and_a_section_is_private():
    assert yaml.safe_load((ROOT / "config.yaml").read_text())["publish"] is None
    section = configuration_of({"publish": {"repository": "a/b"}}).publish
    assert asdict(section) == {"repository": "a/b", "private": True, "license": None}
