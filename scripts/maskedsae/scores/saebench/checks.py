"""Errors where SAEBench is silent. They name the cause and what to change."""

import json
import logging
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from ...jobs.errors import InputError
from ...jobs.files import read_json
from ...jobs.log import log
from .settings import Evals

Result = dict[str, Any]  # SAEBench's JSON, or a part of it


def check_shared(folder: Path, asked: Collection[str]) -> None:
    """All files of these evals must be there: SAEBench would make missing ones itself, with other random numbers."""
    remedy = f"remove {folder}/manifest.json and run the same command, and it is made again"
    manifest = read_json(folder / "manifest.json")
    if "parts" not in manifest:
        raise InputError(f"{folder}/manifest.json is of an older version: {remedy}")
    if lost := [name for name in asked if name not in manifest["parts"]]:
        raise InputError(f"{folder}/manifest.json has nothing for {', '.join(lost)}: {remedy}")
    for file, size in (item for part in manifest["parts"].values() for item in part["files"].items()):
        found = (folder / file).stat().st_size if (folder / file).exists() else None
        if found != size:
            problem = "missing" if found is None else f"{found} bytes, not {size}"
            raise InputError(f"{folder / file}: {problem}: {remedy}")


def check_sae(folder: Path, sae: Any) -> None:
    """Before any eval runs. SAEBench only warns about decoder norms, on which TPP's and SCR's effects depend."""
    threshold = getattr(sae, "threshold", None)
    if threshold is not None and threshold.numel() == 1 and threshold < 0:
        raise InputError(
            f"{folder}: the threshold was never set (-1), so the SAE cannot be used: train beyond "
            "trainer_settings.*.threshold_start_step"
        )
    off = (sae.W_dec.detach().float().norm(dim=1) - 1).abs().max().item()
    if not off < 1e-5 + 1e-5:  # as SAEBench's allclose has it
        raise InputError(
            f"{folder}: decoder vectors must have norm 1, and one is off by {off:.2g}: train the SAE with a trainer "
            "that normalises them"
        )
    for name, value in sae.state_dict().items():
        if not torch.isfinite(value.float()).all():
            raise InputError(f"{folder}: {name} has values that are not finite: train the SAE again, at a lower rate")


def usable(letters: dict[str, float], evals: Evals) -> list[str]:
    """The letters that absorption scores, from the F1 of each one's probe."""
    return [letter for letter, f1 in letters.items() if f1 > evals.absorption.min_GT_probe_f1]


def check_result(eval_name: str, path: Path, evals: Evals, logged: list[str]) -> dict[str, Any]:
    """The eval's JSON, if everything that was asked for is in it. `logged`: errors that SAEBench logged."""
    if not path.exists():
        why = "; ".join(logged) or "it gave no reason"
        raise InputError(f"SAEBench wrote no result: {why}")
    result: dict[str, Any] = json.loads(path.read_text())
    CHECKS[eval_name](result, evals)
    return result


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(metrics: Result, names: list[str], what: str) -> None:
    for name in names:
        if not _number(metrics.get(name)):
            raise InputError(f"{name} is {metrics.get(name)!r}, not a number: {what}")


def _absorption(result: Result, evals: Evals) -> None:
    letters, needed = len(result["eval_result_details"]), evals.absorption.min_feats_for_eval
    if letters < needed:
        raise InputError(f"only {letters} letters were scored, and saebench.absorption.min_feats_for_eval is {needed}")
    means = result["eval_result_metrics"]["mean"]
    _require(means, list(means), "some letter has no score")


def _core(result: Result, _: Evals) -> None:
    """NaN is written as -1. For single latents -1 is valid: a dead latent has no density to measure."""
    for name, value in _metrics(result["eval_result_metrics"]):
        if value == -1 or not _number(value):
            raise InputError(
                f"{name} came out as NaN (which SAEBench writes as -1): the SAE or the language model overflows on "
                "this text; look at sae/quality.json, and try dtype float32"
            )


def _metrics(categories: Result) -> Iterator[tuple[str, object]]:
    for metrics in categories.values():
        yield from metrics.items()


def _sparse_probing(result: Result, evals: Evals) -> None:
    names = [f"sae_top_{k}_test_accuracy" for k in evals.sparse_probing.k_values]
    _require(result["eval_result_metrics"]["sae"], names, "SAEBench left it out")
    for dataset in result["eval_result_details"]:
        _require(dataset, names, f"SAEBench left it out of {dataset['dataset_name']}")
    found = len(result["eval_result_details"])
    if found != (asked := len(evals.sparse_probing.dataset_names)):
        raise InputError(f"{found} data sets of {asked} were scored")


def _tpp(result: Result, evals: Evals) -> None:
    kinds = ("total_metric", "intended_diff_only", "unintended_diff_only")
    names = [f"tpp_threshold_{n}_{kind}" for n in evals.scr_and_tpp.n_values for kind in kinds]
    _require(result["eval_result_metrics"]["tpp_metrics"], names, "SAEBench left it out")
    for dataset in result["eval_result_details"]:
        _require(dataset, names, f"SAEBench left it out of {dataset['dataset_name']}")


def _scr(result: Result, evals: Evals) -> None:
    names = [f"scr_metric_threshold_{n}" for n in evals.scr_and_tpp.n_values]
    tied = [detail["dataset_name"] for detail in result["eval_result_details"] if detail[names[0]] is None]
    if tied:
        pairs = ", ".join(name.removesuffix("_results") for name in tied)
        line = (
            f"{pairs}: the language model's probe tells both labels equally well there (a tie), so SAEBench leaves the "
            "pair out of SCR's average"
        )
        if evals.scr_and_tpp.ties == "error" or len(tied) == len(result["eval_result_details"]):
            raise InputError(
                f"{line}: raise saebench.scr_and_tpp.test_set_size, choose other class_pairs, or accept the average "
                "over the other pairs with ties: leave_out"
            )
        log.info("%s (ties: leave_out)", line)
    _require(result["eval_result_metrics"]["scr_metrics"], names, "SAEBench left it out")
    for detail in result["eval_result_details"]:
        if detail["dataset_name"] not in tied:
            _require(detail, names, f"SAEBench left it out of {detail['dataset_name']}")


CHECKS = {"absorption": _absorption, "core": _core, "sparse_probing": _sparse_probing, "tpp": _tpp, "scr": _scr}


class LoggedErrors(logging.Handler):
    """The exceptions that SAEBench's core catches and logs, before it goes on regardless."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        logging.getLogger("sae_bench").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
