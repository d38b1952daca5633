"""Refusing a wrong configuration before any job runs: one line that names the key, the value and what to do."""

import json
from difflib import get_close_matches
from math import isfinite, nan
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from .errors import InputError
from .saebench.names import K_VALUES, N_VALUES, PAIRED, PROBED

SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"

# Folders beside the models' own in results/{run}/, and beside the streams' own in results/{run}/{model}/; `oracle` is
# what scores.csv calls probes on raw activations.
RESERVED = {
    "models": {"world", "tables", "figures", "logs", "benchmarks", "saebench"},
    "streams": {"tokens", "ood", "oracle", "saebench"},
}

TYPES = {
    "array": "a list",
    "object": "a mapping",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}

BOUNDS = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than"}


def _is_whole(_, value: object) -> bool:
    """Not 20.0, as JSON Schema has it: it would stand in a path."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_, value: object) -> bool:
    """Not .nan, which is within any bounds."""
    return _is_whole(_, value) or (isinstance(value, float) and isfinite(value))


TYPE_CHECKER = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_whole, "number": _is_number})
Validator = extend(Draft202012Validator, type_checker=TYPE_CHECKER)


def check(config: dict) -> None:
    schema = yaml.safe_load(SCHEMA.read_text())
    if error := best_match(Validator(schema).iter_errors(config)):
        raise InputError(f"configuration: {_one_line(error)}")
    if config["world"] is not None and config["run"] == "paper":
        raise InputError("configuration: run: paper is not for language models that `world` makes: choose another name")
    _check_names(config)
    _check_l0(config)
    _check_tables(config)
    _check_sources(config)
    _check_training(config)
    _check_ood(config)
    _check_saebench(config)
    _check_report(config)
    for trainer in config["trainers"]:
        _check_trainer(config, trainer)


def _one_line(error: ValidationError) -> str:
    where = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        close = get_close_matches(str(unknown), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known keys here: {', '.join(known)}"
        return f"{_join(where, unknown)}: unknown key: {hint}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{_join(where, missing)}: missing: config.yaml shows its default"
    if error.validator == "enum":
        allowed = [str(value) for value in error.validator_value]
        close = get_close_matches(str(error.instance), allowed, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        return f"{where}: {_shown(error.instance)} is not one of {', '.join(allowed)}{hint}"
    if error.validator == "type":
        return f"{where}: {_not_of_type(error.instance, error.validator_value)}"
    if error.validator in ("minItems", "minLength"):
        return f"{where}: must not be empty"
    if error.validator == "pattern":
        return f"{where}: {_shown(error.instance)} is not {error.schema.get('description', error.validator_value)}"
    if error.validator in BOUNDS:
        bound = f"{BOUNDS[error.validator]} {error.validator_value}"
        return f"{where}: {_shown(error.instance)} is out of range: it must be {bound}"
    return f"{where}: {error.message}"


def _not_of_type(value: object, types: str | list[str]) -> str:
    types = [types] if isinstance(types, str) else types
    line = f"{_shown(value)} is not {' or '.join(TYPES[name] for name in types)}"
    if isinstance(value, int | float) and "string" in types:
        return f'{line}: write "{value}"'
    try:
        number = float(value) if isinstance(value, str | float) else nan
    except ValueError:
        return line
    # YAML reads 3e-4 as text, since it has no point, and 5.0e8 as a number that is not whole.
    if "integer" in types and number.is_integer():
        return f"{line}: write {int(number)}"
    if "number" in types and isfinite(number):
        return f"{line}: write {yaml.safe_dump(number).split()[0]}"
    return line


def _shown(value: object) -> str:
    """As YAML would have it."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _dotted(path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _check_names(config: dict) -> None:
    for key in ("models", "streams", "tables"):
        names = [entry["name"] for entry in config[key]]
        _unique(key, names, "give each its own name")
        for name in RESERVED.get(key, set()).intersection(names):
            raise InputError(f"configuration: {key}: {name} is a name that results/ uses itself: choose another")
    for key in ("trainers", "l0", "seeds"):
        _unique(key, config[key], "keep one")


def _unique(key: str, values: list, remedy: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"configuration: {key}: {value} is given twice: {remedy}")


def _check_l0(config: dict) -> None:
    dict_size = config["training"]["dict_size"]
    for l0 in config["l0"]:
        if l0 > dict_size:
            raise InputError(f"configuration: l0: {l0} is larger than the dictionary (training.dict_size {dict_size})")
    _unique("l0_sets", [l0 for group in config["l0_sets"] for l0 in group], "an l0 is trained in one set only")


def _check_tables(config: dict) -> None:
    known = {key: [entry["name"] for entry in config[key]] for key in ("models", "streams")}
    for table in config["tables"]:
        where = f"configuration: tables: {table['name']}"
        if table["model"] not in known["models"]:
            raise InputError(f"{where}: model {table['model']} is none of models ({', '.join(known['models'])})")
        for stream in table["streams"]:
            if stream not in known["streams"]:
                raise InputError(f"{where}: stream {stream} is none of streams ({', '.join(known['streams'])})")
        for l0 in table["l0"] or []:
            if l0 not in config["l0"]:
                raise InputError(f"{where}: l0 {l0} is none of l0 ({', '.join(map(str, config['l0']))})")


def _check_sources(config: dict) -> None:
    for model in config["models"]:
        if (model["hub"] is None) == (model["path"] is None):
            raise InputError(
                f"configuration: models: {model['name']}: give exactly one of hub and path, null the other"
            )
    corpus = config["corpus"]
    for text in [corpus["text_field"], *(corpus["files"] or []), *(corpus["filter"] or {}).values()]:
        if isinstance(text, str) and set(text) & set("{}"):
            raise InputError(f"configuration: corpus: {_shown(text)} has a brace, which Snakemake fills in: do without")
    if (corpus["dataset"] is None) == (corpus["files"] is None):
        raise InputError("configuration: corpus: give exactly one of dataset and files, and null the other")


def _check_training(config: dict) -> None:
    training, compute = config["training"], config["compute"]
    if training["tokens"] < training["batch"]:
        raise InputError(
            f"configuration: training.tokens: {training['tokens']} is less than one batch ({training['batch']})"
        )
    if compute["device"] == "cpu" and training["autocast"] != "float32":
        raise InputError(
            f"configuration: training.autocast: {training['autocast']} needs a GPU: set it to float32, or "
            "compute.device to cuda"
        )


def _check_ood(config: dict) -> None:
    ood, dict_size = config["ood"], config["training"]["dict_size"]
    where = "configuration: ood"
    if ood["k"] not in ood["ks"]:
        raise InputError(f"{where}.k: {ood['k']} is none of ood.ks ({', '.join(map(str, ood['ks']))})")
    if max(ood["ks"]) > dict_size:
        raise InputError(f"{where}.ks: {max(ood['ks'])} is larger than the dictionary (training.dict_size {dict_size})")
    _unique("ood.ks", ood["ks"], "keep one")
    for larger, smaller in (("rows", "train_rows"), ("train_rows", "validation_rows")):
        if ood[smaller] >= ood[larger]:
            raise InputError(f"{where}.{smaller}: {ood[smaller]} leaves no other row of ood.{larger} ({ood[larger]})")


def _check_saebench(config: dict) -> None:
    """What SAEBench would drop in silence or trip over after hours."""
    of_probing, paired = config["saebench"]["sparse_probing"], config["saebench"]["scr_and_tpp"]
    absorption, dict_size = config["saebench"]["absorption"], config["training"]["dict_size"]
    for key, values, allowed in (
        ("sparse_probing.k_values", of_probing["k_values"], K_VALUES),
        ("sparse_probing.dataset_names", of_probing["dataset_names"], PROBED),
        ("scr_and_tpp.n_values", paired["n_values"], N_VALUES),
        ("scr_and_tpp.dataset_names", paired["dataset_names"], PAIRED),
    ):
        _unique(f"saebench.{key}", values, "keep one")
        for value in values:
            if value not in allowed:
                raise InputError(
                    f"configuration: saebench.{key}: SAEBench knows no {value}, only {', '.join(map(str, allowed))}"
                )
    for key, value in (
        ("sparse_probing.k_values", max(of_probing["k_values"])),
        ("scr_and_tpp.n_values", max(paired["n_values"])),
        ("absorption.max_k_value", absorption["max_k_value"]),
    ):
        if value > dict_size:
            raise InputError(
                f"configuration: saebench.{key}: {value} is larger than the dictionary (training.dict_size {dict_size})"
            )
    if "{word}" not in absorption["prompt_template"]:
        raise InputError("configuration: saebench.absorption.prompt_template: {word} is missing in it")


def _check_report(config: dict) -> None:
    """What the tables show must be asked for."""
    report, saebench = config["report"], config["saebench"]
    for key, eval_name, asked in (("n", "scr_and_tpp", "n_values"), ("k", "sparse_probing", "k_values")):
        values = saebench[eval_name][asked]
        if report[key] not in values:
            raise InputError(
                f"configuration: report.{key}: {report[key]} is none of saebench.{eval_name}.{asked} "
                f"({', '.join(map(str, values))})"
            )


def _check_trainer(config: dict, trainer: str) -> None:
    settings = config["trainer_settings"][trainer]
    where = f"configuration: trainer_settings.{trainer}"
    steps = config["training"]["tokens"] // config["training"]["batch"]
    decay = int(settings["decay_start"] * steps)
    for key in ("warmup_steps", "sparsity_warmup_steps"):
        if settings.get(key, 0) >= decay:
            raise InputError(
                f"{where}.{key}: {settings[key]} steps reach beyond decay_start ({decay} of {steps} steps)"
            )
    if decay >= steps:
        raise InputError(f"{where}.decay_start: {settings['decay_start']} leaves no step of {steps} to decay in")
    if settings.get("threshold_start_step", 0) >= steps - 1:
        raise InputError(
            f"{where}.threshold_start_step: {settings['threshold_start_step']} is not reached in {steps} steps, and "
            "without a threshold the SAE cannot be used: lower it, or raise training.tokens"
        )
    fractions = settings.get("group_fractions", [1])
    if abs(sum(fractions) - 1) > 1e-9:
        raise InputError(f"{where}.group_fractions: sum to {sum(fractions):g}, not to 1")
    smallest = min(fractions) * config["training"]["dict_size"]
    if smallest < 1:
        raise InputError(
            f"{where}.group_fractions: {min(fractions)} of {config['training']['dict_size']} latents is none"
        )
