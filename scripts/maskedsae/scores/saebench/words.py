"""An SAE's scores in a log line."""

from typing import Any


def in_words(results: dict[str, Any]) -> str:
    absorption = results["absorption"]["eval_result_metrics"]["mean"]["mean_full_absorption_score"]
    letters = len(results["absorption"]["eval_result_details"])
    probing = results["sparse_probing"]["eval_result_metrics"]["sae"]
    k, accuracy = next((name.split("_")[2], probing[name]) for name in probing if "_top_" in name and probing[name])
    variance = results["variance"]
    return (
        f"absorption {absorption:.3f} ({letters} letters), explained variance {variance['centred']:.3f} at l0 "
        f"{variance['l0']:.1f}, accuracy of probes on {k} of its latents {accuracy:.3f}"
    )
