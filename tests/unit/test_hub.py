"""What a hub does to people, over real HTTP with the real clients: each ends in one line that says what to do, and the
same command goes on from there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from checkout import configuration_of
from conftest import model_settings
from hub import TOKEN, Fault, Hub
from hub_content import CORE, GEMMA, PILE, PYTHIA, tiny_hub, write_full_sets, write_model, write_pile
from maskedsae.experiment.settings import saebench_texts
from maskedsae.jobs.typed import plain
from maskedsae.scores.saebench.rows import AMAZON, BIOS, CODE, EUROPARL, NEWS

USER = Path(__file__).parents[1] / "hub_user.py"
SAEBENCH = plain(
    saebench_texts(
        configuration_of(
            {
                "saebench": {
                    "sparse_probing": {"probe_train_set_size": 80, "probe_test_set_size": 24},
                    "scr_and_tpp": {"train_set_size": 64, "test_set_size": 32},
                    "core": {"n_eval_reconstruction_batches": 1, "n_eval_sparsity_variance_batches": 1},
                }
            }
        )
    )
)
CC = {"field": "meta.pile_set_name", "equals": "Pile-CC"}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Hub]:
    hub = tiny_hub(tmp_path_factory.mktemp("hub")).start()
    yield hub
    hub.stop()


@pytest.fixture
def hub(running) -> Iterator[Hub]:
    """As it was at first: no faults, one commit each, nothing asked."""
    before = {key: dict(repository.commits) for key, repository in running.repositories.items()}
    running.requests.clear()
    yield running
    running.faults.clear()
    for key, repository in list(running.repositories.items()):
        repository.commits = before.get(key, {})
    if running.server is None:
        running.start()


class User:
    """Someone with an own HF_HOME, and what happens to the steps of one process."""

    def __init__(self, hub: Hub, folder: Path):
        self.hub, self.folder = hub, folder

    def run(self, *steps: list, **environment: str) -> list[str]:
        """The lines that it says: errors, what was used, and how long it waited."""
        done = subprocess.run(
            [sys.executable, USER],
            input=json.dumps(steps),
            env=self.hub.environment(self.folder / "home", OMP_NUM_THREADS="1", **environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        self.status, self.said = done.returncode, done.stderr + done.stdout
        assert done.returncode in (0, -9), done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith(("error: ", "used: "))]

    @property
    def waited(self) -> float:
        return float(self.said.split("waited: ")[1])

    def model(self, hub: str = PYTHIA, to: str = "model.json", **changes) -> list:
        settings = asdict(model_settings("gpt_neox", "", path=None, hub=hub, **changes))
        return ["model", settings, str(self.folder / to)]

    def tokens(self, to: str = "tokens", kill_at: int = 0, contexts: int = 1800, **corpus) -> list:
        given = {"dataset": PILE, "split": "train", "filter": CC} | corpus
        settings = {"corpus": given, "context_length": 32, "train_contexts": contexts, "heldout_contexts": 20}
        settings |= {"separator": "eos", "repeat": False, "drop_bos": False}
        return ["tokens", settings, str(self.folder / "model.json"), str(self.folder / to), kill_at]

    def made(self, name: str = "tokens") -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / name).iterdir()}

    def commit(self, name: str = "model.json") -> str:
        return json.loads((self.folder / name).read_text())["commit"]


@pytest.fixture
def user(hub, tmp_path) -> User:
    return User(hub, tmp_path)


def newest(hub: Hub, kind: str, name: str) -> str:
    return list(hub.repositories[kind, name].commits)[-1]


def test_all_goes_well(hub, user):
    assert user.run(user.model(), user.tokens()) == []
    manifest = json.loads((user.folder / "tokens/manifest.json").read_text())
    assert user.commit() == newest(hub, "models", PYTHIA)
    assert manifest["corpus"] == {
        "dataset": PILE,
        "split": "train",
        "revision": newest(hub, "datasets", PILE),
        "text_field": "text",
        "filter": CC,
    }
    assert manifest["tokenizer"]["name"] == "pythia-160m-deduped"
    assert not hub.asked("pytorch_model.bin|README.md.*pythia")
    assert user.waited == 0


def test_a_gated_model_without_login_or_access(hub, user):
    gemma = user.model(GEMMA, name="gemma-2-2b")
    stranger, no_access = user.run(gemma, ["login", "hf_another"], gemma, ["login", TOKEN], gemma)
    page = f"{hub.url}/{GEMMA}"
    assert stranger == (
        f"error: models: gemma-2-2b: hub: {GEMMA} is gated: accept its terms at {page}, then run `hf auth login`"
    )
    assert no_access == (
        f"error: models: gemma-2-2b: hub: {GEMMA} is gated, and your account has no access: ask for it at {page}"
    )
    assert user.commit() == newest(hub, "models", GEMMA)


def test_a_gated_corpus_without_login_or_access(hub, user):
    hub.repositories["datasets", PILE].gated = True
    try:
        lines = user.run(
            user.model(), user.tokens(), ["login", "hf_another"], user.tokens(), ["login", TOKEN], user.tokens()
        )
    finally:
        hub.repositories["datasets", PILE].gated = False
    page = f"{hub.url}/datasets/{PILE}"
    assert lines == [
        f"error: corpus.dataset: {PILE} is gated: accept its terms at {page}, then run `hf auth login`",
        f"error: corpus.dataset: {PILE} is gated, and your account has no access: ask for it at {page}",
    ]
    assert "manifest.json" in user.made()


def test_a_wrong_name_and_a_wrong_revision(hub, user):
    lines = user.run(
        user.model("EleutherAI/pythia-160"),
        ["login", TOKEN],
        user.model("EleutherAI/pythia-160"),
        user.model("EleutherAI/pythia 160"),
        user.model(revision="step1001"),
        user.model(),
        user.tokens(dataset="monology/pile"),
        user.tokens(revision="v2"),
        user.tokens(split="dev"),
        user.tokens(subset="cc"),
    )
    model, corpus = "models: tiny-gpt_neox: ", f"{hub.url}/datasets/{PILE}/tree/main"
    unknown = "or none that you may see: check the spelling; for a private one, run `hf auth login`"
    assert lines[:2] == [f"error: {model}hub: the hub has no model EleutherAI/pythia-160, {unknown}"] * 2
    assert lines[2].startswith(f"error: {model}hub: EleutherAI/pythia 160 cannot be read: Repo id must use")
    assert lines[2].endswith(f": check {model}hub and {model}revision")
    assert lines[3:6] == [
        f"error: {model}revision: {PYTHIA} has no revision 'step1001': give a commit, tag or branch of "
        f"{hub.url}/{PYTHIA}/tree/main, or null for the newest",
        f"error: corpus.dataset: the hub has no data set monology/pile, {unknown}",
        f"error: corpus.revision: {PILE} has no revision 'v2': give a commit, tag or branch of {corpus}, or null for "
        "the newest",
    ]
    assert "corpus.split" in lines[6] and "dev" in lines[6] and "train" in lines[6]
    assert "corpus.subset" in lines[7] and "cc" in lines[7] and "default" in lines[7]
    assert len(lines) == 8 and user.waited == 0


def test_a_model_and_a_corpus_that_moved_on(hub, user, tmp_path):
    first = user.run(user.model(), ["use", str(tmp_path / "model.json")], user.tokens("undisturbed"))
    user.run(user.tokens(kill_at=5))
    assert user.status == -9 and "manifest.json" not in user.made()
    models, corpora = newest(hub, "models", PYTHIA), newest(hub, "datasets", PILE)
    write_model(tmp_path / "newer", "gpt_neox", hidden_size=48)
    write_pile(tmp_path / "newer_pile", [f"other text {number} " * 10 for number in range(6000)])
    hub.commit("models", PYTHIA, tmp_path / "newer")
    hub.commit("datasets", PILE, tmp_path / "newer_pile")
    lines = user.run(
        ["use", str(tmp_path / "model.json")], user.tokens(), user.model(to="newer.json"), user.tokens("newer")
    )
    assert lines == first  # the weights are the first commit's
    assert user.commit() == models != user.commit("newer.json") == newest(hub, "models", PYTHIA)
    assert user.made() == user.made("undisturbed")  # with the commit in the manifest
    assert f'"revision": "{corpora}"' in user.made()["manifest.json"].decode()
    assert user.made("newer")["train_00000.npy"] != user.made()["train_00000.npy"]


def test_a_download_that_dies_half_way(hub, user):
    hub.faults = [Fault("/storage/.*model.safetensors", cut=1000, times=2)]
    assert user.run(user.model(to="undisturbed.json")) == []
    assert len(hub.asked("/storage/.*model.safetensors")) == 3  # each goes on where the last one ended
    hub.requests.clear()
    (user.folder / "home").rename(user.folder / "other_home")
    hub.faults = [Fault("/storage/.*model.safetensors", cut=0)]
    [line] = user.run(user.model())
    assert line.startswith(f"error: models: tiny-gpt_neox: hub: {PYTHIA}: the hub does not deliver (")
    assert line.endswith("check the network and run the same command again, now or later: what was fetched is kept")
    assert user.waited > 500
    hub.faults.clear()
    hub.requests.clear()
    assert user.run(user.model()) == []
    assert not hub.asked("GET.*(config|tokenizer)") and len(hub.asked("GET /storage/.*model.safetensors")) == 1
    assert user.commit() == user.commit("undisturbed.json")


def test_a_stream_that_breaks_half_way(hub, user):
    assert user.run(user.model(), user.tokens("undisturbed")) == []
    hub.faults = [Fault("/storage/.*train/01", cut=1000, times=14)]  # of two files; the client gives up after 6
    assert user.run(user.tokens()) == []
    assert user.said.count("trying again") == 2
    assert user.made() == user.made("undisturbed")


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_is_busy_for_a_while(hub, user, status):
    wait = {"Retry-After": "7"} if status == 429 else {}
    places = ("/api/models/.*/revision/main$", "storage/.*model.safetensors", "/api/datasets/.*/revision")
    hub.faults = [Fault(place, status, times=4, headers=wait) for place in places]
    hub.faults.append(Fault("storage/.*train/00", status, times=13, headers=wait))
    assert user.run(user.model(), user.tokens()) == []
    assert f"{PYTHIA}: HTTP status {status}: trying again in 5 s" in user.said
    assert f"{PILE}: HTTP status {status}: trying again in 5 s" in user.said
    assert not [fault for fault in hub.faults if fault.times]


def test_a_hub_that_stays_busy(hub, user):
    hub.faults = [Fault("/api/models/", 503, times=13)]
    [line] = user.run(user.model())
    assert line == (
        f"error: models: tiny-gpt_neox: hub: {PYTHIA}: the hub does not deliver (HTTP status 503): check the network "
        "and run the same command again, now or later: what was fetched is kept"
    )
    assert 540 < user.waited < 900
    assert user.run(user.model()) == []


def test_a_record_without_the_text_field_and_a_corpus_that_ends_early(hub, user, tmp_path):
    lines = user.run(user.model(), user.tokens(text_field="content"), user.tokens(contexts=10_000), user.tokens())
    assert (
        lines[0] == f"error: dataset {PILE} record 1: no field 'content'; set corpus.text_field to one of: text, meta"
    )
    assert lines[1].startswith("error: corpus: ends within the train contexts: ")
    assert "lower training.tokens, or set tokens.repeat: true" in lines[1]
    assert len(lines) == 2 and "manifest.json" in user.made()


def test_with_everything_fetched_no_job_asks(hub, user, tmp_path):
    gemma = user.model(GEMMA, "gemma.json", name="gemma")
    files = [str(tmp_path / name) for name in ("model.json", "gemma.json")]
    later = [["use", file] for file in files]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps({"text": f"Own text {n}. " * 30}) + "\n" for n in range(60)))
    own = user.tokens("own", contexts=20, dataset=None, split=None, filter=None, files=["own.jsonl"])
    user.run(["login", TOKEN], user.model(), gemma)
    hub.requests.clear()
    here = user.run(*later, own)
    assert [line.split()[0] for line in here] == ["used:"] * 2
    assert user.run(*later, own, A_LATER_JOB="1") == here
    assert hub.asked() == []
    hub.stop()
    assert user.run(*later, own, user.model(to="again.json")) == here  # the newest that is here
    assert user.commit("again.json") == user.commit()


def test_with_something_missing_and_no_network(hub, user, tmp_path):
    user.run(user.model())
    hub.stop()
    other = user.model("EleutherAI/pythia-70m", to="other.json")
    unreached, corpus = user.run(other, user.tokens())
    assert user.waited <= 2 * 35 + 5
    wanted = f"cannot reach {hub.url} ([Errno 111] Connection refused): check the network and run the same command"
    assert unreached.startswith(f"error: models: tiny-gpt_neox: hub: EleutherAI/pythia-70m: {wanted}")
    assert corpus.startswith(f"error: corpus.dataset: {PILE}: {wanted}")
    [offline] = user.run(other, HF_HUB_OFFLINE="1")
    assert offline == (
        "error: models: tiny-gpt_neox: hub: EleutherAI/pythia-70m is not on this machine, and HF_HUB_OFFLINE forbids "
        "fetching it: run the same command where there is a network, without that variable"
    )
    weights = next((tmp_path / "home/hub").rglob("model.safetensors"))
    weights.resolve().unlink()
    weights.unlink()
    [missing] = user.run(["use", str(tmp_path / "model.json")], A_LATER_JOB="1")
    assert missing == (
        f"error: models: tiny-gpt_neox: {PYTHIA} at {user.commit()} is not on this machine, or not all of it: remove "
        "its model.json and run the same command where there is a network, so that it is fetched again (HF_HOME must "
        "be a folder that both machines see)"
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_full_sets(root)
    return root


@pytest.fixture
def saebench(hub, sets) -> Hub:
    """With SAEBench's data sets too."""
    for folder in sets.glob("*/*"):
        hub.commit("datasets", str(folder.relative_to(sets)), folder)
    return hub


def test_saebenchs_sets_come_over_http_as_from_a_folder(saebench, user, sets, tmp_path):
    """Also when the hub is busy and connections break."""
    step = ["saebench_data", SAEBENCH, str(tmp_path / "fetched")]
    saebench.faults = [
        Fault("/storage/.*amazon.*/train", 503, times=2),
        Fault("/storage/.*ag_news/test", cut=100, times=2),
        Fault("/api/datasets/Helsinki-NLP/europarl/revision", 429, times=2),
        Fault("/storage/.*/github-code/data/train-1", cut=1000, times=7),
        Fault("/storage/.*/openwebtext/data/train-", 503, times=7),
    ]
    assert user.run(step) == []
    assert not [fault for fault in saebench.faults if fault.times]
    saebench.stop()
    (tmp_path / "folder").mkdir()
    there = User(saebench, tmp_path / "folder")
    for owner in sets.iterdir():
        (there.folder / owner.name).symlink_to(owner)
    assert there.run(["saebench_data", SAEBENCH, str(tmp_path / "expected")]) == []
    found, expected = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("fetched", "expected"))
    assert {name: record["files"] for name, record in found["sets"].items()} == {
        name: record["files"] for name, record in expected["sets"].items()
    }
    assert {name: record["commit"] for name, record in found["sets"].items()} == {
        name: newest(saebench, "datasets", name) for name in (BIOS, AMAZON, NEWS, CODE, EUROPARL, CORE)
    }
    assert user.run(step) == []  # all is here: nothing is asked


def test_what_the_hub_refuses_of_saebenchs_sets(saebench, user, tmp_path):
    def step(**changes) -> list:
        return ["saebench_data", SAEBENCH | changes, str(tmp_path / "fetched")]

    def pinned(name: str, revision: str) -> list:
        return step(data={"source": "hub", "revisions": [{"dataset": name, "revision": revision}]})

    saebench.repositories["datasets", AMAZON].gated = True
    revision, gated = user.run(pinned(AMAZON, "v0"), step())
    saebench.repositories["datasets", AMAZON].gated = False
    assert revision.startswith(f"error: saebench.data.revisions: {AMAZON} has no revision 'v0': give a commit, tag or")
    page = f"{saebench.url}/datasets/{AMAZON}"
    assert gated == f"error: saebench.data: {AMAZON} is gated: accept its terms at {page}, then run `hf auth login`"
    saebench.requests.clear()
    core = SAEBENCH["core"] | {"dataset": "Skylion007/openwebtext2"}
    [name] = user.run(step(core=core))
    assert name.startswith(
        "error: saebench.data: the hub has no data set Skylion007/openwebtext2, or none that you may"
    )
    assert not saebench.asked(BIOS)  # which was here already
