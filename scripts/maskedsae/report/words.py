"""The page's sentences about its numbers."""

from ..inference.equal_l0 import TOLERANCE
from ..inference.settings import Shown
from .records import Sae
from .style import label

ABSORPTION = (
    "SAEBench advises against its absorption score for language models under 1B parameters and for dictionaries under "
    "16k latents. The dictionaries of the paper's own grid are smaller."
)
NOISE = (
    "SAEBench's READMEs tell how far a score moved at most when one SAE was scored again with other seeds: TPP by 0.8 "
    "points, SCR by 8, sparse probing by 3. Of SAEs trained with other seeds they say nothing. "
    "Chanin (arXiv 2605.18229) finds TPP and SCR too noisy to use, so they are shown and not judged."
)
ONE_SEED = "Every number comes from one seed. Only further seeds would show how much of a difference is chance."
NOMINAL_L0 = (
    "The nominal l0 is what a trainer aims at on its own (masked) text. SAEs of one nominal l0 need not be equally "
    "sparse on clean text: compare them at their l0 on clean text."
)
CORPUS = (
    "The paper calls its text “Pile-CC-deduplicated”. No public data set of exactly that name is known, and the text "
    "of this run may be another."
)
STEP = {
    "stock": "dictionary_learning's own (training.step: stock)",
    "fast": "ours, dictionary_learning's arithmetic up to rounding (training.step: fast; docs/steps.md)",
}


def lead(saes: list[Sae], shown: Shown) -> str:
    """What this run is, in two or three sentences."""
    models = list(dict.fromkeys(sae.cell.model for sae in saes))
    if not saes:
        of = dict.fromkeys(sae.model for sae in shown.imported)
        return f"{_imported(shown)}, on activations of {_and(list(of))}. None of them was trained by this run."
    beside = f" Beside them: {_imported(shown)}." if shown.imported else ""
    off = [sae for sae in saes if sae.off_by_much]
    read = {sae.cell.stream for sae in saes}
    streams = [stream for stream in shown.streams if stream.name in read]  # the configuration may have more
    how = ["without masking"] * any(stream.is_baseline for stream in streams)
    masks = sorted({stream.p for stream in streams if stream.as_in_the_paper and not stream.is_baseline})
    if masks:
        shares = _and([f"{p:g}" for p in masks])
        how.append(f"with a share p of the tokens replaced by “{shown.mask}” (p = {shares})")
    how += [f"on “{s.name}” ({label(s, shown.streams)})" for s in streams if not s.as_in_the_paper]
    first = f"{len(saes)} sparse autoencoders, on activations of {_and(models)}, trained {_or(how)}."
    if named := len([sae for sae in saes if not sae.aims_at_l0]):
        who = f"{named} of them aim" if named < len(saes) else "They aim"
        first += f" {who} at no l0: the nominal one is only the name of a penalty."
    if named == len(saes):
        return f"{first}{beside}"
    if not off:
        each = "Each other" if named else "Each"
        return f"{first} {each} has its nominal l0 on clean text, within {TOLERANCE:.0%}.{beside}"
    furthest = max(off, key=lambda sae: abs(sae.off))
    return (
        f"{first} {len(off)} of them are not as sparse on clean text as their nominal l0 says, by up to "
        f"{abs(furthest.off):.0%}: keep that in mind in every comparison at equal nominal l0.{beside}"
    )


def _imported(shown: Shown) -> str:
    count = len(shown.imported)
    return f"{count} imported sparse autoencoder{'s' if count > 1 else ''}"


def warnings(saes: list[Sae]) -> list[str]:
    """What is wrong with these SAEs in particular."""
    found = []
    if off := [sae for sae in saes if sae.off_by_much]:
        named = _and([f"{_name(sae, saes)} ({sae.quality['l0']:.1f})" for sae in off])
        how_many = f"{len(off)} of {len([sae for sae in saes if sae.aims_at_l0])} SAEs"
        found.append(f"l0 on clean text is more than {TOLERANCE:.0%} off the nominal one for {how_many}: {named}.")
    if dead := [sae for sae in saes if sae.mostly_dead]:
        named = _and([f"{_name(sae, saes)} ({sae.dead:.0%})" for sae in dead])
        found.append(f"More than half of the latents are dead in {named}.")
    revisions = {sae.provenance["revision"] for sae in saes}
    if len(revisions) > 1:
        found.append(f"These SAEs were trained by {len(revisions)} revisions of the code: see “What was run”.")
    if any(revision.endswith("+changes") for revision in revisions):
        found.append("Some SAEs were trained by code with uncommitted changes.")
    return found


def caveats(shown: Shown) -> list[str]:
    """What holds for any such run."""
    scored = {score for model in shown.models for score in model.scores}
    found = [NOMINAL_L0]
    found += [NOISE] if scored & {"tpp", "scr"} else []
    found += [ABSORPTION] if "absorption" in scored else []
    if len(shown.seeds) == 1:
        found.insert(0, ONE_SEED)
    return found if shown.demo else [*found, CORPUS]


def _name(sae: Sae, of: list[Sae]) -> str:
    """With its trainer and its seed where there are several."""
    cell, cells = sae.cell, [other.cell for other in of]
    trainer = f" {cell.trainer}" if len({other.trainer for other in cells}) > 1 else ""
    seed = f" seed {cell.seed}" if len({other.seed for other in cells}) > 1 else ""
    return f"{cell.model} {cell.stream}{trainer} l0 {cell.l0}{seed}"


def _or(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def clock(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds % 60:02.0f} s" if minutes else f"{seconds:.0f} s"


def memory(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB"
