"""A checked configuration and the grid that it spells out: cells, the sets that train together, and what they need.

A cell is one SAE: (model, stream, trainer, l0, seed). A job trains an l0 set: cells that differ in l0 alone.
"""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from .files import read_json
from .fingerprint import fingerprint
from .saebench.names import OF_SAES
from .saebench.names import SCORES as SAEBENCH_SCORES

SAE_FILES = (
    *("ae.pt", "config.json", "cfg.json", "sae_weights.safetensors"),
    *("SHA256SUMS", "provenance.json", "quality.json"),
)


@dataclass(frozen=True)
class L0Set:
    """What one job trains: the cells of one (model, stream, trainer, seed) that differ in l0."""

    run: str
    model: str
    stream: str
    trainer: str
    seed: int
    l0s: tuple[int, ...]

    @property
    def name(self) -> str:
        l0s = "-".join(str(l0) for l0 in self.l0s)
        return f"{self.model}_{self.stream}_{self.trainer}_l0_{l0s}_seed_{self.seed}"

    def folder(self, l0: int) -> Path:
        return Path("results", self.run, self.model, self.stream, self.trainer, f"l0_{l0}", f"seed_{self.seed}")

    def files(self) -> list[str]:
        names = ["training.csv", *(f"sae/{name}" for name in SAE_FILES)]
        return [str(self.folder(l0) / name) for l0, name in product(self.l0s, names)]

    def scores(self) -> list[str]:
        names = [f"scores/{name}.json" for name in (*SAEBENCH_SCORES, "ood")]
        return [str(self.folder(l0) / name) for l0, name in product(self.l0s, names)]


def folders_of(outputs: list[str]) -> dict[int, Path]:
    """{l0: the cell's folder} of a training job, read off its outputs' paths."""
    folders = {Path(output).parent for output in outputs if Path(output).name == "training.csv"}
    return dict(sorted((int(folder.parent.name.removeprefix("l0_")), folder) for folder in folders))


def needed_l0s(config: dict, model: str, stream: str) -> set[int]:
    """The l0s at which some table shows this stream of this model."""
    tables = [table for table in config["tables"] if table["model"] == model and stream in table["streams"]]
    return {l0 for table in tables for l0 in (config["l0"] if table["l0"] is None else table["l0"])}


def l0_sets(config: dict, needed: bool) -> list[L0Set]:
    """The jobs whose SAEs the tables need, or those of the rest of the grid.

    `l0_sets` of the configuration says which l0s share a job; another l0 is a job of its own, so that one added later
    leaves the finished ones alone (Snakemake remakes all outputs of a job whose outputs grow).
    """
    groups = list(config["l0_sets"])
    groups += [[l0] for l0 in config["l0"] if not any(l0 in group for group in groups)]
    sets = []
    axes = product(config["models"], config["streams"], config["trainers"], config["seeds"])
    for model, stream, trainer, seed in axes:
        shown = needed_l0s(config, model["name"], stream["name"])
        for group in groups:
            l0s = tuple(l0 for l0 in group if l0 in config["l0"] and (l0 in shown) == needed)
            if l0s:
                sets.append(L0Set(config["run"], model["name"], stream["name"], trainer, seed, l0s))
    return sets


def by_name(entries: list[dict], name: str) -> dict:
    return next(entry for entry in entries if entry["name"] == name)


def local_model_files(path: str) -> list[str]:
    """Of a Hugging Face model directory: what decides its activations. One that is yet to be made has all of them."""
    index = Path(path, "model.safetensors.index.json")
    names = ["config.json", "tokenizer.json"]
    names += sorted(set(read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    if not Path(path).is_dir() or Path(path, "tokenizer_config.json").exists():
        names.append("tokenizer_config.json")
    return [f"{path}/{name}" for name in names]


def model_settings(config: dict, model: str) -> dict:
    entry = by_name(config["models"], model)
    facts = {key: entry[key] for key in ("name", "hub", "path", "revision", "layer", "bos")}
    of_all = {"mask": config["mask"], "context_length": config["tokens"]["context_length"]}
    return facts | of_all | {"code": fingerprint("models")}


def token_settings(config: dict) -> dict:
    """What decides the tokens of a model, beside the model itself: enough contexts to give every step its activations.

    Numbers are computed here and not in the job, so that a dry run sees them change.
    """
    tokens, training = config["tokens"], config["training"]
    activations = training["tokens"]
    if training["max_norm_multiple"] is not None:
        activations += activations // 100  # to spare for those that are dropped
    return {
        "corpus": {key: value for key, value in config["corpus"].items() if value is not None},
        "context_length": tokens["context_length"],
        "train_contexts": -(-activations // (tokens["context_length"] - training["drop_bos"])),
        "heldout_contexts": tokens["heldout_contexts"],
        "separator": tokens["separator"],
        "repeat": tokens["repeat"],
        "drop_bos": training["drop_bos"],
        "code": fingerprint("packing"),
    }


def train_settings(config: dict, cells: L0Set) -> dict:
    """All that decides the numbers of a set's SAEs, but for l0 (the cells' own) and the tokens (an input).

    A change of any of it retrains; `compute` is how and not what, and is left out.
    """
    model = by_name(config["models"], cells.model)
    return {
        "model": {key: model[key] for key in ("name", "layer", "dtype", "lm_batch")},
        "stream": by_name(config["streams"], cells.stream),
        "trainer": cells.trainer,
        "trainer_settings": config["trainer_settings"][cells.trainer],
        "training": config["training"],
        "seed": cells.seed,
        "code": fingerprint("training"),
    }


def oracles(config: dict) -> list[str]:
    return [f"results/{config['run']}/{model['name']}/oracle.json" for model in config["models"]]


def ood_activation_settings(config: dict, model: str) -> dict:
    """A forward pass may hold as many tokens as in training; the texts are shorter than its contexts."""
    entry = by_name(config["models"], model)
    of_texts = {key: config["ood"][key] for key in ("rows", "max_tokens", "bos")}
    batch_tokens = entry["lm_batch"] * config["tokens"]["context_length"]
    return of_texts | {"dtype": entry["dtype"], "batch_tokens": batch_tokens, "code": fingerprint("ood.last_tokens")}


def ood_settings(config: dict) -> dict:
    """All that decides the numbers of a probe, but for the activations and the SAE (inputs)."""
    probes = {key: value for key, value in config["ood"].items() if key not in ("rows", "max_tokens", "bos")}
    return probes | {"code": fingerprint("ood.scores")}


def oracle_settings(config: dict) -> dict:
    of_saes = ("k", "ks", "same_rows")
    return {key: value for key, value in ood_settings(config).items() if key not in of_saes}


def saebench_data_settings(config: dict) -> dict:
    """All that decides the rows of SAEBench's data sets."""
    of_rows = {
        "sparse_probing": ("dataset_names", "probe_train_set_size", "probe_test_set_size"),
        "scr_and_tpp": ("dataset_names", "class_pairs", "train_set_size", "test_set_size"),
        "core": (
            *("dataset", "context_size", "eval_batch_size_prompts"),
            *("n_eval_reconstruction_batches", "n_eval_sparsity_variance_batches"),
        ),
    }
    saebench = config["saebench"]
    rows = {section: {key: saebench[section][key] for key in keys} for section, keys in of_rows.items()}
    hub = saebench["data"]["source"] == "hub"
    code = fingerprint("saebench.fetching") if hub else fingerprint("world.evaluations")
    return {"seed": saebench["seed"], "data": saebench["data"]} | rows | {"code": code}


def has_stand_ins_beside_a_world(config: dict) -> bool:
    return config["world"] is not None and config["saebench"]["data"]["source"] == "stand-in"


def saebench_settings(config: dict, model: str) -> dict:
    """All that decides an SAE's scores, but for the SAE, the model, the data and what its SAEs share (inputs)."""
    entry = by_name(config["models"], model)
    batch_tokens = entry["lm_batch"] * config["tokens"]["context_length"]
    of_model = {"dtype": entry["dtype"], "batch_tokens": batch_tokens}
    evals = {key: value for key, value in config["saebench"].items() if key != "data"}
    return evals | of_model | {"code": fingerprint("saebench.scoring")}


def saebench_model_settings(config: dict, model: str) -> dict:
    """The same without what bears on a single SAE's scores only: `n_values`, say, makes no activations anew."""
    settings = saebench_settings(config, model)
    for name, of_saes in OF_SAES.items():
        settings[name] = {key: value for key, value in settings[name].items() if key not in of_saes}
    return settings | {"code": fingerprint("saebench.shared")}


def score_files(sets: list[L0Set], oracles: list[str]) -> list[str]:
    """What scores.csv is made of: each cell's score files and its measures on clean text, and the oracles."""
    files = []
    for cells in sets:
        files += [*cells.scores(), *(file for file in cells.files() if file.endswith("/quality.json"))]
    return files + oracles


def ood_rows(sets: list[L0Set]) -> list[str]:
    """Each cell's probe scores row by row, for paired comparisons."""
    return [str(cells.folder(l0) / "scores" / "ood_rows.csv") for cells in sets for l0 in cells.l0s]


def oracle_rows(config: dict) -> list[str]:
    return [path.replace("oracle.json", "oracle_rows.csv") for path in oracles(config)]


def table_files(config: dict) -> list[str]:
    folder = f"results/{config['run']}/tables"
    return [f"{folder}/{table['name']}.{kind}" for table in config["tables"] for kind in ("csv", "md", "tex")]


def scores_table_settings(config: dict) -> dict:
    return {"streams": config["streams"], "code": fingerprint("report.scores")}


def table_settings(config: dict) -> dict:
    """What the tables show of scores.csv, and what tells whether the paper's numbers may stand beside it."""
    saebench = {key: value for key, value in config["saebench"].items() if key not in ("seed", "data")}
    return {
        "tables": [_resolved(config, table) for table in config["tables"]],
        "models": [{key: model[key] for key in ("name", "hub", "path", "layer")} for model in config["models"]],
        "streams": config["streams"],
        "trainers": config["trainers"],
        "seeds": config["seeds"],
        "mask": config["mask"],
        "training": {key: config["training"][key] for key in ("tokens", "dict_size")},
        "saebench": saebench | {"data": {"source": config["saebench"]["data"]["source"]}},
        "ood": config["ood"],
        "report": config["report"],
        "demo": config["world"] is not None,
        "code": fingerprint("report.make"),
    }


def _resolved(config: dict, table: dict) -> dict:
    """A table with its l0s spelled out, and those at which an unmasked SAE of its model is trained for any table.

    Both from the smallest.
    """
    p_of = {stream["name"]: stream["p"] for stream in config["streams"]}
    unmasked = {l0 for name in table["streams"] if p_of[name] == 0 for l0 in needed_l0s(config, table["model"], name)}
    l0s = config["l0"] if table["l0"] is None else table["l0"]
    return {**table, "l0": sorted(l0s), "unmasked_l0": sorted(unmasked & set(config["l0"]))}


def difference_settings(config: dict) -> dict:
    return {
        "streams": config["streams"],
        "ood": {key: config["ood"][key] for key in ("bootstrap", "seed")},
        "demo": config["world"] is not None,
        "code": fingerprint("report.differences"),
    }


def figure_settings(config: dict, figure: str, trainer: str) -> dict:
    of_figure = {"figure": figure, "trainer": trainer, "ks": config["ood"]["ks"]}
    # How SAEs were scored bears on no figure but through the scores.
    shown = {key: value for key, value in table_settings(config).items() if key not in ("saebench", "ood")}
    return of_figure | shown | {"code": fingerprint("report.figures.draw")}


def page_settings(config: dict) -> dict:
    cells = next(iter(l0_sets(config, needed=True)), None)
    scores = [Path(path).name for path in cells.scores()] if cells else []
    shown = {"configuration": config, "scores": list(dict.fromkeys(scores))}
    return table_settings(config) | shown | {"code": fingerprint("report.page")}


def world_text_settings(config: dict) -> dict:
    return {key: config["world"][key] for key in ("characters", "seed")} | {"code": fingerprint("world.text")}


def world_lm_settings(config: dict, name: str) -> dict:
    model = by_name(config["world"]["language_models"], name)
    return {key: model[key] for key in ("family", "training")} | {
        "seed": config["world"]["seed"],
        "code": fingerprint("world.language_model"),
    }


def spelled_out(settings: dict, prefix: str = "") -> list[str]:
    """Settings as params of a rule, one a line ("training.batch: 2048"), so that a dry run names just what changed."""
    lines = []
    for key, value in settings.items():
        nested = isinstance(value, dict) and value
        lines += spelled_out(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}: {json.dumps(value)}"]
    return lines


def gathered(lines: list[str]) -> dict:
    """The settings that were spelled out."""
    settings: dict = {}
    for line in lines:
        name, value = line.split(": ", 1)
        *path, last = name.split(".")
        place = settings
        for key in path:
            place = place.setdefault(key, {})
        place[last] = json.loads(value)
    return settings
