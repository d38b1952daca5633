"""What each rule's result depends on, from the configuration; a change of any of it makes that result again.

Numbers are computed here and not in the jobs, so that a dry run sees them change. How a result is computed (`compute`)
is not included. Each result also depends on the code that made it: fingerprint.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from math import ceil
from typing import Any, TypeVar

from ..activations.corruptions.base import known_kinds
from ..activations.planted.settings import TruthSettings
from ..activations.settings import ModelSettings, Stream
from ..inference.settings import (
    ContrastSettings,
    DifferenceSettings,
    MechanismSettings,
    Shown,
    ShownModel,
    ShownSae,
    TableSettings,
)
from ..jobs.typed import plain
from ..report.settings import CardSettings, DrawnFigure, FigureSettings, PageSettings, StepSettings, UploadSettings
from ..saes.imported.settings import FetchSettings, ImportSettings, Origin
from ..saes.settings import Reading, TrainJobSettings
from ..scores.audit.settings import AuditSettings
from ..scores.ood.settings import OodTexts, Probing, SaeProbing
from ..scores.planted.settings import PlantedScoring
from ..scores.robustness.settings import RobustnessSettings, RobustnessTexts
from ..scores.saebench.settings import (
    CoreTexts,
    PairedTexts,
    ProbingTexts,
    Scoring,
    Sharing,
    Texts,
    shared_part,
)
from ..scores.settings import PublishedSettings, ScoresTableSettings
from ..text.settings import TokenSettings
from ..world.settings import CorpusSettings, LanguageModelSettings
from .configuration import Configuration, Model
from .fingerprint import fingerprint
from .grid import TrainingJob, mechanism_streams, score_names, seed_groups, shown_tables

T = TypeVar("T")

SPARE = 0.01  # extra text where the number of rows is random


def model_settings(config: Configuration, name: str) -> ModelSettings:
    model = config.model(name)
    return ModelSettings(
        name=model.name,
        hub=model.hub,
        path=model.path,
        revision=model.revision,
        layer=model.layer,
        bos=model.bos,
        mask=config.mask,
        context_length=config.tokens.context_length,
        code=fingerprint("activations.language_models"),
    )


def truth_settings(config: Configuration, name: str) -> TruthSettings:
    planted = config.model(name).planted
    assert planted is not None
    return TruthSettings(name, planted, fingerprint("activations.planted.truth"))


def contexts_of(config: Configuration, stream: Stream) -> int:
    """Contexts that give every step its rows."""
    training = config.training
    rows: float = training.tokens
    if stream.share_of_rows < 1 or training.max_norm_multiple is not None:
        rows += rows * SPARE
    return ceil(rows / stream.share_of_rows / (config.tokens.context_length - training.drop_bos))


def token_settings(config: Configuration) -> TokenSettings:
    """One text for all streams, long enough for the one that reads most."""
    return TokenSettings(
        corpus=config.corpus,
        context_length=config.tokens.context_length,
        train_contexts=max(contexts_of(config, stream) for stream in config.streams),
        heldout_contexts=config.tokens.heldout_contexts,
        separator=config.tokens.separator,
        repeat=config.tokens.repeat,
        drop_bos=config.training.drop_bos,
        code=fingerprint("text.packing", "activations.tokenising"),
    )


def train_settings(config: Configuration, job: TrainingJob) -> TrainJobSettings:
    model, stream = config.model(job.model), config.stream(job.stream)
    l0s = {cell.l0 for cell in job.cells}
    trainers = {name: config.trainer_settings[name].among(l0s) for name in job.trainers}
    code = ["saes.training" if model.planted is None else "saes.planted"]
    if stream.corruption is not None and model.planted is None:
        code.append(f"activations.corruptions.{stream.corruption.kind}")
    modules = {
        name: (*code, f"saes.trainers.{trainer.kind}", f"saes.steps.{trainer.step(config.training)}")
        for name, trainer in trainers.items()
    }
    # A job whose trainers all keep stock's step does not depend on which one is asked for.
    some_take_it = config.training.step in {trainer.step(config.training) for trainer in trainers.values()}
    training = config.training if some_take_it else replace(config.training, step="stock")
    return TrainJobSettings(
        model=Reading(model.name, model.layer, model.dtype, model.lm_batch, model.tf32),
        stream=stream,
        stream_seed=config.stream_seed(job.cells[0].seed),
        contexts=contexts_of(config, stream) if model.planted is None else 0,
        trainers=trainers,
        training=training,
        code={name: fingerprint(*names) for name, names in modules.items()},
    )


def import_settings(config: Configuration, name: str) -> ImportSettings:
    entry = config.imported(name)
    model, origin = config.model(entry.model), entry.origin
    if origin.baseline is not None and origin.baseline.kind == "random":
        latents, k = origin.baseline.latents or config.training.dict_size, origin.baseline.k or min(config.l0)
        origin = Origin(baseline=replace(origin.baseline, latents=latents, k=k))
    return ImportSettings(origin, model.dtype, model.lm_batch, fingerprint("saes.imported.make"))


def fetch_settings(config: Configuration, name: str) -> FetchSettings:
    return FetchSettings(config.imported(name).origin, fingerprint("saes.imported.fetching"))


def planted_scoring(config: Configuration, job: TrainingJob) -> PlantedScoring:
    rates = sorted({stream.p for stream in config.streams if stream.p})
    code = fingerprint("scores.planted.scores")
    return PlantedScoring(config.stream_seed(job.cells[0].seed), tuple(rates), code)


def batch_tokens(config: Configuration, model: Model) -> int:
    """Tokens in a forward pass, at most: as in training, since the texts of scores are shorter than its contexts."""
    return model.lm_batch * config.tokens.context_length


def ood_texts(config: Configuration, name: str) -> OodTexts:
    model, ood = config.model(name), config.ood
    code = fingerprint("scores.ood.last_tokens")
    return OodTexts(ood.rows, ood.max_tokens, ood.bos, model.dtype, batch_tokens(config, model), code)


def probing(config: Configuration) -> SaeProbing:
    names = [field.name for field in fields(SaeProbing) if field.name != "code"]
    return SaeProbing(**{name: getattr(config.ood, name) for name in names}, code=fingerprint("scores.ood.scores"))


def oracle_probing(config: Configuration) -> Probing:
    return part_of(Probing, probing(config))


def robustness_texts(config: Configuration, name: str) -> RobustnessTexts:
    model, section = config.model(name), config.robustness
    # Equal corruptions of several streams are one text.
    streams = tuple(dict.fromkeys(stream.corruption for stream in config.streams if stream.corruption))
    kinds = {corruption.kind for corruption in streams} | {damage.kind for damage in section.corruptions}
    modules = [f"activations.corruptions.{kind}" for kind in sorted(kinds.intersection(known_kinds()))]
    return RobustnessTexts(
        contexts=min(section.contexts, config.tokens.heldout_contexts),
        rows=section.rows,
        corruptions=section.corruptions,
        streams=streams,
        parents=section.parents,
        seed=section.seed,
        dtype=model.dtype,
        lm_batch=model.lm_batch,
        code=fingerprint("scores.robustness.activations", *modules),
    )


def robustness(config: Configuration, stream: str) -> RobustnessSettings:
    rates = tuple(sorted({other.p for other in config.streams if other.p}))
    section, code = config.robustness, fingerprint("scores.robustness.scores")
    return RobustnessSettings(config.stream(stream), rates, section.k, section.seed, code)


def robustness_imported(config: Configuration) -> RobustnessSettings:
    """As of an SAE that was trained on clean text: nothing is known of another one."""
    return replace(robustness(config, config.streams[0].name), stream=Stream("imported"))


def mechanism(config: Configuration, model: str) -> MechanismSettings:
    compared, baseline = shown(config), shown(config).baseline
    assert baseline is not None
    l0s = {stream.name: compared.compared_l0s(model, stream) for stream in config.streams}
    streams = tuple(stream for stream in mechanism_streams(config) if l0s[stream.name])
    return MechanismSettings(
        run=config.run,
        model=model,
        baseline=baseline.name,
        streams=streams,
        trainers=config.trainers,
        seeds=config.seeds,
        l0s={name: l0s[name] for name in (baseline.name, *(stream.name for stream in streams))},
        code=fingerprint("inference.mechanism"),
    )


def saebench_texts(config: Configuration) -> Texts:
    saebench = config.saebench
    return Texts(
        seed=saebench.seed,
        data=saebench.data,
        sparse_probing=part_of(ProbingTexts, saebench.sparse_probing),
        scr_and_tpp=part_of(PairedTexts, saebench.scr_and_tpp),
        core=part_of(CoreTexts, saebench.core),
        code=fingerprint("scores.saebench.fetching" if saebench.data.source == "hub" else "world.evaluations"),
    )


def part_of(kind: type[T], section: object) -> T:
    """A `kind` from those fields of `section` that it has."""
    return kind(**{field.name: getattr(section, field.name) for field in fields(kind)})  # type: ignore[arg-type]


def stand_ins_read_corpus(config: Configuration) -> bool:
    return config.world is not None and config.saebench.data.source == "stand-in"


def scoring(config: Configuration, name: str) -> Scoring:
    model, saebench = config.model(name), config.saebench
    code = fingerprint("scores.saebench.scoring")
    return Scoring(saebench.asked, saebench.eval_settings, model.dtype, batch_tokens(config, model), code)


def sharing(config: Configuration, name: str) -> Sharing:
    model, saebench = config.model(name), config.saebench
    evals, code = shared_part(plain(saebench.eval_settings)), fingerprint("scores.saebench.shared")
    return Sharing(saebench.asked, evals, model.dtype, batch_tokens(config, model), code)


def scores_table_settings(config: Configuration) -> ScoresTableSettings:
    return ScoresTableSettings(config.streams, fingerprint("scores.table"))


def audit_settings(config: Configuration) -> AuditSettings:
    return AuditSettings(config.audit, fingerprint("scores.audit.audit"))


def published_settings(config: Configuration, sae: str) -> PublishedSettings:
    published = config.imported(sae).published
    assert published is not None
    return PublishedSettings(published, fingerprint("scores.saebench.published"))


def shown(config: Configuration) -> Shown:
    saebench = {key: value for key, value in plain(config.saebench).items() if key not in ("seed", "data", "evals")}
    return Shown(
        run=config.run,
        tables=shown_tables(config),
        models=tuple(_shown_model(config, model) for model in config.models),
        streams=config.streams,
        trainers=tuple(config.trainer_settings[name] for name in config.trainers),
        seeds=config.seeds,
        mask=config.mask,
        corpus=plain(config.corpus),
        tokens=plain(config.tokens),
        training=plain(config.training),
        saebench=saebench | {"data": {"source": config.saebench.data.source}},
        ood=plain(config.ood),
        report=config.report,
        demo=config.world is not None,
        l0=config.l0,
        seed_groups=tuple(map(tuple, seed_groups(config))),
        analysis=config.analysis,
        imported=tuple(
            ShownSae(entry.name, entry.model, entry.group, entry.published is not None) for entry in config.saes
        ),
    )


def _shown_model(config: Configuration, model: Model) -> ShownModel:
    given = {field.name: getattr(model, field.name) for field in fields(ShownModel) if field.name != "scores"}
    return ShownModel(**given, scores=(*score_names(config, model), "quality"))


def table_settings(config: Configuration) -> TableSettings:
    return TableSettings(shown(config), fingerprint("report.make"))


def contrast_settings(config: Configuration) -> ContrastSettings:
    compared = replace(shown(config), imported=())  # no contrast is about them
    return ContrastSettings(compared, fingerprint("inference.make"))


def difference_settings(config: Configuration) -> DifferenceSettings:
    code = fingerprint("inference.paired")
    return DifferenceSettings(config.streams, config.ood.bootstrap, config.ood.seed, config.world is not None, code)


def figure_settings(config: Configuration, drawn: DrawnFigure) -> FigureSettings:
    # How SAEs were trained and scored affects figures only through the scores.
    seen = replace(shown(config), corpus={}, tokens={}, training={}, saebench={}, ood={})
    if drawn.figure != "decides":
        seen = replace(seen, imported=())
    return FigureSettings(drawn.figure, drawn.trainer, config.ood.ks, seen, fingerprint("report.figures.draw"))


def page_settings(
    config: Configuration, figures: Iterable[DrawnFigure], steps: Iterable[StepSettings], as_given: Mapping[str, Any]
) -> PageSettings:
    """`as_given`: the configuration from files and command line, which the page prints."""
    return PageSettings(shown(config), tuple(figures), tuple(steps), dict(as_given), fingerprint("report.page"))


def card_settings(config: Configuration) -> CardSettings:
    sent = replace(shown(config), imported=())  # imported SAEs are not
    return CardSettings(config.publish, sent, fingerprint("report.model_card"))


def upload_settings(config: Configuration) -> UploadSettings:
    return UploadSettings(config.publish, fingerprint("report.upload"))


def corpus_settings(config: Configuration) -> CorpusSettings:
    assert config.world is not None
    return CorpusSettings(config.world.characters, config.world.seed, fingerprint("world.text"))


def language_model_settings(config: Configuration, name: str) -> LanguageModelSettings:
    assert config.world is not None
    model = next(model for model in config.world.language_models if model.name == name)
    code = fingerprint("world.language_model")
    return LanguageModelSettings(model.family, model.training, config.world.seed, code)
