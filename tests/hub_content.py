"""What the paper's configuration fetches, small, under its own names and in its own layout on the hub."""

import json
import random
import shutil
from pathlib import Path

import pandas as pd
import torch
import yaml
import zstandard
from datasets import ClassLabel, Dataset, DatasetDict

from conftest import documents, make_model, make_tokenizer
from hub import Hub
from maskedsae.scores.saebench.datasets import Folder, write_parquet
from maskedsae.scores.saebench.rows import AMAZON, BIOS, CODE, EUROPARL, LANGUAGE_PAIRS, NEWS, Needs
from maskedsae.scores.saebench.settings import Texts
from maskedsae.world.architectures import build_model, scale_residual_stream
from maskedsae.world.evaluations import write_stand_ins
from maskedsae.world.language_model import RESIDUAL_RMS, residual_rms
from maskedsae.world.spelling import alphabetic_ids
from maskedsae.world.text import write_corpus
from maskedsae.world.tokenizer import read_texts, train_tokenizer

PYTHIA, GEMMA, PILE = "EleutherAI/pythia-160m-deduped", "google/gemma-2-2b", "monology/pile-uncopyrighted"
CORE = "Skylion007/openwebtext"
# As the hub's own: a script, files of all languages, and columns that nobody asked for.
GITHUB_CODE = """
import datasets
import pyarrow.parquet as pq

class Config(datasets.BuilderConfig):
    def __init__(self, *args, languages=["all"], licenses=["all"], **kwargs):
        super().__init__(*args, name="+".join(languages), **kwargs)
        self.languages = set(languages)

class Code(datasets.GeneratorBasedBuilder):
    BUILDER_CONFIG_CLASS = Config

    def _info(self):
        names = ["code", "repo_name", "path", "language"]
        return datasets.DatasetInfo(features=datasets.Features({name: datasets.Value("string") for name in names}))

    def _split_generators(self, downloads):
        files = downloads.download([f"data/train-{n}.parquet" for n in range(3)])
        return [datasets.SplitGenerator(name="train", gen_kwargs={"files": files})]

    def _generate_examples(self, files):
        key = 0
        for file in files:
            for row in pq.read_table(file).to_pylist():
                if "all" in self.config.languages or row["language"] in self.config.languages:
                    yield key, row
                    key += 1
"""


def write_model(folder: Path, family: str, **changes: int) -> None:
    """With files that nobody asks for, as the hub has them."""
    tokenizer = make_tokenizer(family)
    tokenizer.save_pretrained(folder)
    make_model(family, len(tokenizer), **changes).save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"the same weights again")
    (folder / "README.md").write_text("---\nlicense: other\n---\n")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n")


def write_pile(folder: Path, texts: list[str], shards: int = 2) -> None:
    """Every third document is of Pile-CC."""
    names = ("Pile-CC", "Github", "StackExchange")
    records = [{"text": text, "meta": {"pile_set_name": names[number % 3]}} for number, text in enumerate(texts)]
    per_shard = len(records) // shards
    parts = [records[number * per_shard :][:per_shard] for number in range(shards)]
    files = {f"train/{number:02}.jsonl.zst": part for number, part in enumerate(parts)}
    for name, part in (files | {"val.jsonl.zst": records[:9], "test.jsonl.zst": records[:9]}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(record) + "\n" for record in part)
        (folder / name).write_bytes(zstandard.compress(lines.encode()))
    (folder / "README.md").write_text("---\nlicense: other\n---\n")


def write_full_sets(root: Path) -> None:
    """Of the hub's form, with more rows, columns, classes, languages and files than are read."""
    rng = random.Random(0)

    def rows(split: str, count: int, **labels) -> dict[str, list]:
        texts = [f"{split} text {number} {rng.random()}" for number in range(count)]
        return {"text": texts} | {name: [rng.choice(values) for _ in range(count)] for name, values in labels.items()}

    for split, count in (("train", 9000), ("test", 6000)):
        bios = rows(split, count, profession=range(28), gender=[0, 0, 1])
        write_parquet(root / BIOS / "data" / f"{split}-00000-of-00001.parquet", {"hard_text": bios.pop("text"), **bios})
        amazon = rows(split, count, category=range(34), rating=[1.0, 5.0, 5.0], title=["a", "b"])
        write_parquet(root / AMAZON / "data" / f"{split}-00000-of-00001.parquet", amazon)
    topics = ClassLabel(names=["World", "Sports", "Business", "Sci/Tech"])
    news = {split: Dataset.from_dict(rows(split, 900, label=range(4))) for split in ("train", "test")}
    for split, part in DatasetDict(news).cast_column("label", topics).items():
        (root / NEWS).mkdir(parents=True, exist_ok=True)
        part.to_parquet(str(root / NEWS / f"{split}-00000-of-00001.parquet"))
    configurations = []
    for language, pair in LANGUAGE_PAIRS.items():
        others = set(pair.split("-")) - {language}
        texts = [{language: f"{language} {n}"} | {other: f"not {n}" for other in others} for n in range(300)]
        write_parquet(root / EUROPARL / pair / "train.parquet", {"id": range(300), "translation": texts})
        configurations.append({"config_name": pair, "data_files": [{"split": "train", "path": f"{pair}/*"}]})
    (root / EUROPARL / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configurations})}---\n")
    (root / CODE).mkdir(parents=True)
    (root / CODE / "github-code.py").write_text(GITHUB_CODE)
    for number in range(3):
        code = rows("code", 400, language=["C", "Python", "HTML", "Java", "PHP", "Rust"], repo_name=["x"], path=["y"])
        code["code"] = [text + "x" * rng.choice([100, 600, 900]) for text in code.pop("text")]
        write_parquet(root / CODE / "data" / f"train-{number}.parquet", code)
    for number in range(4):
        web = [f"shard {number} row {n} " + "word " * 120 for n in range(60)]
        write_parquet(root / CORE / "data" / f"train-{number:05}-of-00004.parquet", {"text": web})


def tiny_hub(folder: Path) -> Hub:
    """With the models and the Pile, not started."""
    hub = Hub()
    write_model(folder / "pythia", "gpt_neox")
    write_model(folder / "gemma", "gemma2")
    write_pile(folder / "pile", documents())
    hub.commit("models", PYTHIA, folder / "pythia")
    hub.commit("models", GEMMA, folder / "gemma", gated=True)
    hub.commit("datasets", PILE, folder / "pile")
    return hub


LETTERS_SHARE = 0.3  # standard deviation of what words with the same initial share; the rest of an embedding's is 0.06


def write_spelling_model(folder: Path, family: str, corpus: Path, layers: int, width: int = 64) -> None:
    """Random, but with a linear first letter, which SAEBench's absorption presupposes: so nothing need be trained."""
    tokenizer = train_tokenizer(corpus, folder, family, 2048)
    torch.manual_seed(0)
    model = build_model(family, tokenizer, layers, width, heads=4, context=128)
    embeddings = model.get_input_embeddings().weight
    with torch.no_grad():
        for ids in alphabetic_ids(tokenizer):
            embeddings[ids] += LETTERS_SHARE * torch.randn(width)
    ids = torch.tensor([tokenizer.encode("\n".join(documents()[:20]))[:128]])
    scale_residual_stream(model, RESIDUAL_RMS / residual_rms(model, ids))
    model.save_pretrained(folder)


def write_sets(root: Path, texts: Texts) -> None:
    """SAEBench's sets, large enough for these settings: real texts with labels, laid out as on the hub."""
    write_stand_ins(Folder(root / "flat"), Needs(texts), None, texts.seed)
    for name in (BIOS, AMAZON, NEWS, CORE):
        for file in (root / "flat" / name).glob("*.parquet"):
            place = root / name / "data" / f"{file.stem}-00000-of-00001.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
    configurations = []
    for pair in LANGUAGE_PAIRS.values():
        (root / EUROPARL / pair).mkdir(parents=True)
        (root / "flat" / EUROPARL / f"{pair}.parquet").rename(root / EUROPARL / pair / "train-00000-of-00001.parquet")
        configurations.append({"config_name": pair, "data_files": [{"split": "train", "path": f"{pair}/train-*"}]})
    (root / EUROPARL / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configurations})}---\n")
    (root / CODE / "data").mkdir(parents=True)
    rows = pd.read_parquet(root / "flat" / CODE / "rows.parquet").sample(frac=1, random_state=0)
    for number in range(3):
        part = rows.iloc[number::3].assign(repo_name="x", path="y")
        write_parquet(root / CODE / "data" / f"train-{number}.parquet", part.to_dict("list"))
    (root / CODE / "github-code.py").write_text(GITHUB_CODE)
    shutil.rmtree(root / "flat")


def papers_hub(folder: Path, texts: Texts) -> Hub:
    """All that config.yaml fetches, for SAEBench settings of this size. Not started."""
    hub = Hub()
    write_corpus(folder / "corpus.jsonl", 4_000_000, 0)
    own = list(read_texts(folder / "corpus.jsonl"))
    write_spelling_model(folder / "pythia", "gpt_neox", folder / "corpus.jsonl", layers=10)
    write_spelling_model(folder / "gemma", "gemma2", folder / "corpus.jsonl", layers=14)
    write_pile(folder / "pile", own, shards=30)
    write_sets(folder / "sets", texts)
    hub.commit("models", PYTHIA, folder / "pythia")
    hub.commit("models", GEMMA, folder / "gemma", gated=True)
    hub.commit("datasets", PILE, folder / "pile")
    for name in (BIOS, AMAZON, NEWS, CODE, EUROPARL, CORE):
        hub.commit("datasets", name, folder / "sets" / name)
    return hub
