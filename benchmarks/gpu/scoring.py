"""Steps about scores: SAEBench's five evals and probes out of distribution, of one SAE."""

from pathlib import Path

from device import timed
from given import SCORED, Found, Kit

from maskedsae.experiment import settings as settings_of
from maskedsae.experiment.grid import score_files
from maskedsae.jobs.files import read_json
from maskedsae.scores.saebench.names import SCORES as SAEBENCH_SCORES


def texts(kit: Kit) -> Found:
    """Labelled texts in the form of SAEBench's data sets, from those that sae-probes ships."""
    from maskedsae.world.evaluations import write_data

    write_data(kit.data, settings_of.saebench_texts(kit.config), str(kit.corpus))
    sets = [str(path.relative_to(kit.data.parent)) for path in kit.data.parent.glob("*/*") if path.is_dir()]
    return Found(f"{len(sets)} data sets", {"sets": sorted(sets)})


def shared(kit: Kit) -> Found:
    """What the SAEs of a model share in SAEBench: first-letter probes, activations, class probes."""
    from maskedsae.scores.saebench.shared import make_shared

    settings = settings_of.sharing(kit.config, SCORED)
    make_shared(kit.shared(SCORED), kit.facts(SCORED), settings, kit.data, kit.config.compute)
    letters = read_json(kit.shared(SCORED))["parts"]["absorption"]["found"]
    good = sum(f1 > kit.config.saebench.absorption.min_GT_probe_f1 for f1 in letters.values())
    return Found(f"{good} letters can be scored for absorption", {"letters": letters})


def scores(kit: Kit) -> Found:
    """SAEBench's five evals of one SAE, by its own code."""
    from maskedsae.scores.saebench.scoring import score_cell
    from maskedsae.scores.table import collect

    output, settings = score_files(kit.config, kit.scored)[0], settings_of.scoring(kit.config, SCORED)
    score_cell(output, kit.facts(SCORED), settings, kit.shared(SCORED), kit.data, kit.config.compute)
    files = [file for file in score_files(kit.config, kit.scored) if Path(file).stem in SAEBENCH_SCORES]
    values = {row.metric: row.value for row in collect(files, kit.config.streams)}
    metrics = kit.config.report.metrics
    words = ", ".join(f"{metric.label} {metric.scaled(values[metric.key]):.1f}" for metric in metrics)
    return Found(words, {metric.key: values[metric.key] for metric in metrics})


def ood(kit: Kit) -> Found:
    """Probes out of distribution: on the language model's activations, and on the latents of one SAE."""
    from maskedsae.scores.ood.last_tokens import write_model_activations
    from maskedsae.scores.ood.scores import write_oracle, write_sae_probes

    config, cell, model = kit.config, kit.scored, kit.results / SCORED
    activations, workers = model / "ood" / "activations.safetensors", config.compute.probe_threads
    with timed(kit.device) as reading:
        write_model_activations(activations, kit.facts(SCORED), settings_of.ood_texts(config, SCORED), config.compute)
    settings = settings_of.oracle_probing(config)
    with timed(kit.device) as on_activations:
        write_oracle(model / "oracle.json", model / "oracle_rows.csv", activations, settings, workers)
    to, weights = cell.folder / "scores", cell.folder / "sae" / "sae_weights.safetensors"
    with timed(kit.device) as on_latents:
        write_sae_probes(
            *(to / "ood.json", to / "ood_rows.csv", activations, weights, model / "oracle.json"),
            *(settings_of.probing(config), workers),
        )
    auc, best = (read_json(file)["mean"]["ood"]["mean"] for file in (to / "ood.json", model / "oracle.json"))
    seconds = {"activations": reading.value, "oracle": on_activations.value, "probes": on_latents.value}
    words = f"AUC {auc:.3f} on latents, {best:.3f} on activations"
    return Found(words, {"auc": auc, "oracle_auc": best, "seconds": seconds})
