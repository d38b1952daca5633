"""An SAE's scores in a log line."""

from typing import Any


def in_words(results: dict[str, Any]) -> str:
    """Of the evals that were asked for; TPP and SCR are in their files only."""
    words = []
    if "absorption" in results:
        absorption = results["absorption"]["eval_result_metrics"]["mean"]["mean_full_absorption_score"]
        letters = len(results["absorption"]["eval_result_details"])
        words.append(f"absorption {absorption:.3f} ({letters} letters)")
    if "variance" in results:
        variance = results["variance"]
        words.append(f"explained variance {variance['centred']:.3f} at l0 {variance['l0']:.1f}")
    if "sparse_probing" in results:
        probing = results["sparse_probing"]["eval_result_metrics"]["sae"]
        k, accuracy = next((name.split("_")[2], probing[name]) for name in probing if "_top_" in name and probing[name])
        words.append(f"accuracy of probes on {k} of its latents {accuracy:.3f}")
    return ", ".join(words) or "scored"
