"""Refuses a wrong configuration before any job runs, with one line that names the key, the value and what to do."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from ..inference.arms import arm_of
from ..jobs.errors import InputError
from ..scores.metrics import SHOWN_ONLY, endpoints
from ..scores.robustness.settings import RESERVED as RESERVED_CORRUPTIONS
from ..scores.robustness.settings import damage_kinds
from ..scores.saebench.names import EVALS, GIVES, K_VALUES, N_VALUES, PAIRED, PROBED
from .configuration import Configuration
from .sae_checks import check_folders, check_saes, local_folders
from .schema import SCHEMA, as_yaml, check_values, fill_in
from .trainer_checks import check_entries, check_trainer

# Folders beside the models' own in results/{run}/, and beside the streams' own in results/{run}/{model}/; `oracle` is
# what scores.csv calls probes on raw activations. The tables of imported SAEs.
RESERVED = {
    "models": {"world", "tables", "figures", "logs", "benchmarks", "saebench", "publish"},
    "streams": {"tokens", "ood", "robustness", "oracle", "saebench", "imported"},
    "trainer_settings": {"imported"},  # where run is `results`, its cells' paths would be those of imported SAEs
    "tables": {"imported", "published"},
}


def check(config: dict[str, Any]) -> Configuration:
    """The configuration as typed values; defaults are filled in, in `config` too."""
    schema = yaml.safe_load(SCHEMA.read_text())
    check_values(config, schema)
    _check_layers(config)
    fill_in(config, schema)
    check_entries(config, schema)
    try:
        checked = Configuration.of(config)
    except InputError as error_in_a_value:
        raise InputError(f"configuration: {error_in_a_value}") from None
    if checked.world is not None and checked.run == "paper":
        raise InputError("configuration: run: paper is not for language models that `world` makes: choose another name")
    _check_names(checked)
    _check_streams(checked)
    _check_sizes(checked)
    _check_tables(checked)
    _check_sources(checked)
    _check_planted(checked, schema)
    check_saes(checked)
    _check_tf32(checked)
    _check_training(checked)
    _check_ood(checked)
    _check_robustness(checked)
    _check_saebench(checked)
    _check_report(checked)
    _check_analysis(checked)
    _check_endpoints(checked, config["analysis"]["endpoints"])
    for name in checked.trainers:
        check_trainer(checked, checked.trainer_settings[name])
    return checked


def check_files(config: Configuration) -> None:
    """Local files that the workflow does not make itself. Snakemake looks for an input only if a job is to run, so a
    wrong name would go unnoticed while results of the right one exist."""
    made = f"results/{config.run}/world/"
    paths = [(f"models: {model.name}: path", model.path) for model in config.models if model.path]
    paths += [("corpus.files", file) for file in config.corpus.files or ()]
    theirs = [(entry.name, entry.published.path) for entry in config.saes if entry.published]
    paths += [(f"saes: {name}: published.path", path) for name, path in theirs if path]
    paths += [(f"saes: {sae.name}: from.folder", folder) for sae, folder in local_folders(config)]
    for key, path in paths:
        if not Path(path).exists() and not path.startswith(made):
            raise InputError(
                f"configuration: {key}: {path} is not here ({Path.cwd()}): restore it, or correct its name"
            )
    check_folders(config)


def _check_layers(config: dict[str, Any]) -> None:
    """Of a language model a layer is read; a planted truth has none."""
    for number, model in enumerate(config["models"]):
        if model.get("planted") is None and "layer" not in model:
            raise InputError(f"configuration: models[{number}].layer: missing: config.yaml shows its default")


def _check_names(config: Configuration) -> None:
    names = {key: [entry.name for entry in getattr(config, key)] for key in ("models", "streams", "tables")}
    names["trainer_settings"] = list(config.trainer_settings)
    for key, values in names.items():
        _unique(key, values, "give each its own name")
        for name in RESERVED.get(key, set()).intersection(values):
            raise InputError(f"configuration: {key}: {name} is a name that results/ uses itself: choose another")
    for key in ("trainers", "l0", "seeds"):
        _unique(key, getattr(config, key), "keep one")
    _unique("l0_sets", [l0 for group in config.l0_sets for l0 in group], "an l0 is trained in one set only")
    in_sets = [name for group in config.trainer_sets for name in group]
    _unique("trainer_sets", in_sets, "a trainer is in one set only")
    for name in in_sets:
        if name not in config.trainer_settings:
            known = ", ".join(config.trainer_settings)
            raise InputError(f"configuration: trainer_sets: {name} is not one of trainer_settings ({known})")


def _unique(key: str, values: Sequence[object], remedy: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"configuration: {key}: {value} is given twice: {remedy}")


def _check_streams(config: Configuration) -> None:
    baselines = [stream.name for stream in config.streams if stream.is_baseline]
    if len(baselines) > 1:
        raise InputError(
            f"configuration: streams: {' and '.join(baselines)} are both without corruption, so they are one and the "
            "same: keep one"
        )


def _dictionaries(config: Configuration) -> Iterator[tuple[str, int]]:
    """The key that gives each used trainer's number of latents, and that number."""
    for name in config.trainers:
        size = config.trainer_settings[name].dict_size
        own = size != config.training.dict_size
        yield f"trainer_settings.{name}.dict_size" if own else "training.dict_size", size


def _check_sizes(config: Configuration) -> None:
    """Nothing may ask for more latents than there are."""
    saebench = config.saebench
    asked: list[tuple[str, Sequence[int]]] = [("l0", config.l0)]
    asked.append(("analysis.baseline_l0", config.analysis.baseline_l0 or (1,)))
    if config.language_models:
        asked.append(("ood.ks", config.ood.ks))
        of_evals = {
            "sparse_probing": ("sparse_probing.k_values", saebench.sparse_probing.k_values),
            "tpp": ("scr_and_tpp.n_values", saebench.scr_and_tpp.n_values),
            "scr": ("scr_and_tpp.n_values", saebench.scr_and_tpp.n_values),
            "absorption": ("absorption.max_k_value", (saebench.absorption.max_k_value,)),
        }
        asked += [(f"saebench.{key}", values) for name, (key, values) in of_evals.items() if name in saebench.asked]
    for where, size in _dictionaries(config):
        for key, values in asked:
            if max(values) > size:
                raise InputError(f"configuration: {key}: {max(values)} is larger than the dictionary ({where} {size})")


def _check_tables(config: Configuration) -> None:
    known = {key: [entry.name for entry in getattr(config, key)] for key in ("models", "streams")}
    lacking = [name for name in EVALS if name not in config.saebench.asked]
    if config.tables and lacking:
        raise InputError(
            f"configuration: tables: they show all of SAEBench's scores, and saebench.evals lacks "
            f"{', '.join(lacking)}: add what is lacking there, or set tables to []"
        )
    for table in config.tables:
        where = f"configuration: tables: {table.name}"
        if table.model not in known["models"]:
            raise InputError(f"{where}: model {table.model} is none of models ({', '.join(known['models'])})")
        if config.model(table.model).planted is not None:
            raise InputError(
                f"{where}: model {table.model} is planted, and tables show SAEBench's scores, which it has not: take "
                "it out of tables (the target grid makes its SAEs and scores)"
            )
        for stream in table.streams:
            if stream not in known["streams"]:
                raise InputError(f"{where}: stream {stream} is none of streams ({', '.join(known['streams'])})")
        for l0 in table.l0 or ():
            if l0 not in config.l0:
                raise InputError(f"{where}: l0 {l0} is none of l0 ({', '.join(map(str, config.l0))})")


def _check_sources(config: Configuration) -> None:
    for model in config.language_models:
        if (model.hub is None) == (model.path is None):
            raise InputError(f"configuration: models: {model.name}: give exactly one of hub and path, null the other")
    for file in config.corpus.files or ():
        if set(file) & set("{}"):
            raise InputError(
                f"configuration: corpus.files: {as_yaml(file)} has a brace, which Snakemake fills in: rename it"
            )
    if (config.corpus.dataset is None) == (config.corpus.files is None):
        raise InputError("configuration: corpus: give exactly one of dataset and files, and null the other")


def _check_planted(config: Configuration, schema: Mapping[str, Any]) -> None:
    """A planted truth has no text, no language model and no BOS."""
    planted = [model for model in config.models if model.planted is not None]
    of_language_models = schema["properties"]["models"]["items"]["properties"]
    for model in planted:
        where, truth = f"configuration: models: {model.name}", model.planted
        assert truth is not None
        for key, known in of_language_models.items():
            if key not in ("name", "planted") and getattr(model, key) != known["default"]:
                raise InputError(f"{where}: {key} is of a language model, and this one is planted: leave it out")
        if truth.free_rates.least >= truth.free_rates.most:
            least, most = truth.free_rates.least, truth.free_rates.most
            raise InputError(f"{where}: planted.free_rates.least: {least} is not below most ({most}): lower it")
        for stream in config.streams:
            if stream.corruption is not None and stream.corruption.kind != "mask":
                raise InputError(
                    f"configuration: streams: {stream.name}: {stream.corruption.kind} needs text, and {model.name} is "
                    "planted: only mask has a meaning there: give the planted model a run of its own"
                )
        for key, off in (("drop_bos", False), ("max_norm_multiple", None)):
            if getattr(config.training, key) != off:
                raise InputError(
                    f"configuration: training.{key}: is for language models, and {model.name} is planted: set it to "
                    f"{as_yaml(off)}, or give the planted model a run of its own"
                )


def _check_tf32(config: Configuration) -> None:
    for model in config.models:
        where = f"configuration: models: {model.name}: tf32"
        if model.tf32 and model.dtype != "float32":
            raise InputError(f"{where}: is for dtype float32, and this model's is {model.dtype}: set it to false")
        if model.tf32 and config.compute.device == "cpu":
            raise InputError(f"{where}: needs a GPU: set it to false, or compute.device to cuda")


def _check_training(config: Configuration) -> None:
    training, compute = config.training, config.compute
    if training.tokens < training.batch:
        raise InputError(f"configuration: training.tokens: {training.tokens} is less than one batch ({training.batch})")
    if compute.device == "cpu" and training.autocast != "float32":
        raise InputError(
            f"configuration: training.autocast: {training.autocast} needs a GPU: set it to float32, or "
            "compute.device to cuda"
        )


def _check_ood(config: Configuration) -> None:
    ood, where = config.ood, "configuration: ood"
    if ood.k not in ood.ks:
        raise InputError(f"{where}.k: {ood.k} is none of ood.ks ({', '.join(map(str, ood.ks))})")
    _unique("ood.ks", ood.ks, "keep one")
    for larger, smaller in (("rows", "train_rows"), ("train_rows", "validation_rows")):
        more, fewer = getattr(ood, larger), getattr(ood, smaller)
        if fewer >= more:
            raise InputError(f"{where}.{smaller}: {fewer} leaves no other row of ood.{larger} ({more})")


def _check_robustness(config: Configuration) -> None:
    section, where = config.robustness, "configuration: robustness"
    _unique("robustness.corruptions", [damage.name for damage in section.corruptions], "give each its own name")
    _unique("robustness.parents", section.parents, "keep one")
    for damage in section.corruptions:
        if damage.name in RESERVED_CORRUPTIONS:
            raise InputError(
                f"{where}.corruptions: {damage.name} is a name that robustness.json uses itself: choose another"
            )
        if damage.kind not in damage_kinds():
            close = get_close_matches(damage.kind, damage_kinds(), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(
                f"{where}.corruptions: {damage.name}: {damage.kind} is not one of {', '.join(damage_kinds())}{hint}"
            )


def _check_saebench(config: Configuration) -> None:
    """What SAEBench would silently drop, or fail on after hours."""
    _unique("saebench.evals", config.saebench.evals, "keep one")
    probing, paired = config.saebench.sparse_probing, config.saebench.scr_and_tpp
    checked: tuple[tuple[str, Sequence[object], Sequence[object]], ...] = (
        ("sparse_probing.k_values", probing.k_values, K_VALUES),
        ("sparse_probing.dataset_names", probing.dataset_names, PROBED),
        ("scr_and_tpp.n_values", paired.n_values, N_VALUES),
        ("scr_and_tpp.dataset_names", paired.dataset_names, PAIRED),
    )
    for key, values, allowed in checked:
        _unique(f"saebench.{key}", values, "keep one")
        for value in values:
            if value not in allowed:
                raise InputError(
                    f"configuration: saebench.{key}: SAEBench knows no {value}, only {', '.join(map(str, allowed))}"
                )
    if "{word}" not in config.saebench.absorption.prompt_template:
        raise InputError("configuration: saebench.absorption.prompt_template: {word} is missing in it")


def _check_report(config: Configuration) -> None:
    """What the tables show must be computed."""
    report, saebench = config.report, config.saebench
    for key, shown, eval_name, values in (
        ("n", report.n, "scr_and_tpp.n_values", saebench.scr_and_tpp.n_values),
        ("k", report.k, "sparse_probing.k_values", saebench.sparse_probing.k_values),
    ):
        if shown not in values:
            asked = ", ".join(map(str, values))
            raise InputError(f"configuration: report.{key}: {shown} is none of saebench.{eval_name} ({asked})")
    _unique("report.convergence", report.convergence, "name two different ones")
    if len(report.convergence) not in (0, 2):
        raise InputError("configuration: report.convergence: compares two trainers: name two, or none")
    for name in report.convergence:
        if name not in config.trainers:
            known = ", ".join(config.trainers)
            raise InputError(f"configuration: report.convergence: {name} is none of trainers ({known})")


def _check_analysis(config: Configuration) -> None:
    analysis, where = config.analysis, "configuration: analysis"
    known: dict[str, tuple[Sequence[object], Sequence[object]]] = {
        "arms": (analysis.arms, [stream.name for stream in config.streams]),
        "models": (analysis.models or (), [model.name for model in config.models]),
        "l0": (analysis.l0 or (), config.l0),
        "control": ([analysis.control] if analysis.control else (), list(config.trainer_settings)),
        "assay": (analysis.assay or (), list(config.trainer_settings)),
    }
    for key, (named, there) in known.items():
        section = {"arms": "streams", "control": "trainer_settings", "assay": "trainer_settings"}.get(key, key)
        for name in named:
            if name not in there:
                raise InputError(f"{where}.{key}: {name} is none of {section} ({', '.join(map(str, there))})")
        _unique(f"analysis.{key}", named, "keep one")
    for l0 in analysis.baseline_l0:
        if l0 in config.l0:
            raise InputError(f"{where}.baseline_l0: {l0} is in l0 already: take it out here")
    _unique("analysis.baseline_l0", analysis.baseline_l0, "keep one")
    arms = [config.stream(name) for name in analysis.arms]
    if arms and not any(stream.is_baseline for stream in config.streams):
        raise InputError(f"{where}.arms: no stream is without corruption, so there is nothing to compare them with")
    for stream in arms:
        if stream.is_baseline:
            raise InputError(f"{where}.arms: {stream.name} is the baseline, which they are compared with: take it out")
        whole = [arm for arm in arms if (arm.corruption, arm_of(arm)) == (stream.corruption, "paper")]
        if arm_of(stream) and not whole:
            raise InputError(
                f"{where}.arms: {stream.name} takes a stream apart that is not among them: add the one with the same "
                "corruption, context: corrupted and rows: all"
            )


def _check_endpoints(config: Configuration, named: Iterable[str]) -> None:
    """`named`: with those that an overlay took out."""
    report, where = config.report, "configuration: analysis.endpoints"
    known = endpoints(report.explained_variance, report.n, report.k)
    judged = [name for name in known if name not in SHOWN_ONLY]
    for name in named:
        if name not in judged:
            close = get_close_matches(name, judged, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(f"{where}: {name} is not one of {', '.join(judged)}{hint}")
    for name, (eval_name, files) in product(config.analysis.endpoints, GIVES.items()):
        if known[name].file in files and eval_name not in config.saebench.asked:
            raise InputError(
                f"{where}: {name} is a score of {eval_name}, which saebench.evals does not ask for: add it there, or "
                f"set {name} to null here"
            )
