"""``groundswell simulate``: a whole federation on this machine, measured against its baselines."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from groundswell.shared.config_file import LoadedConfig, load_config
from groundswell.shared.plan import Plan
from groundswell.shared.results import RegionResult, Results, write_whole
from groundswell.simulation import baselines, models, regions, run_out, summaries
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.central import train_centrally
from groundswell.simulation.datasets import complete_journey, own
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.evaluate import evaluate
from groundswell.simulation.models import Variant
from groundswell.simulation.progress import Progress
from groundswell.simulation.promise import no_privacy, privacy_of, spent_of
from groundswell.simulation.report import write_report
from groundswell.simulation.running import (
    Options,
    Outcomes,
    PausedError,
    data_facts,
    data_size,
    engine_of,
    folder_of,
    peak_rss_mib,
    raise_unless_finished,
    run_id,
    training_rounds,
    watch_of,
    write_heads,
)
from groundswell.simulation.saving import effective_config, save_trained
from groundswell.simulation.scoring import model_scorer
from groundswell.simulation.setting import Setting
from groundswell.simulation.unseen import measure_unseen
from groundswell.simulation.vaults import Agreed


def load_dataset(loaded: LoadedConfig, quarantine: Path | None = None) -> Dataset:
    """The demo data, or the user's own files."""
    config = loaded.config
    if config.is_demo:
        dataset = complete_journey.load(config.sites.number)
        task = dataset.task.model_copy(update={"history": config.task.history})
        return replace(dataset, task=task)
    return own.load(config, quarantine).dataset


def simulate(
    config: LoadedConfig | Path | str | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Results:
    """Run a federation and write everything that the contract names into ``options.out``.

    Args:
        config: a file, or what ``load_config`` made of one; the demo data without it.
        options: how it is run; default: quick rows, one seed, into ``runs/simulation``.
        progress: callbacks that tell how far it is.

    Raises:
        InputError: the configuration or the data can't be used; nothing is written then.
        StoppedError, PausedError: the state is saved.
    """
    if isinstance(config, LoadedConfig):
        loaded = config
    else:
        loaded = load_config(Path(config) if config else None)
    options = options or Options(Path("runs/simulation"))
    progress = progress or Progress()
    run_out.check(options.out, resume=options.resume)
    # Rejected rows wait there for the rest: a run that fails leaves no part of itself.
    with tempfile.TemporaryDirectory() as aside:
        return _simulate(loaded, options, progress, Path(aside) / run_out.QUARANTINE)


def _simulate(
    loaded: LoadedConfig, options: Options, progress: Progress, quarantine: Path
) -> Results:
    began = time.monotonic()
    progress.phase("reading and preparing the data", 0)
    dataset = load_dataset(loaded, quarantine)
    setting = Setting.build(loaded.config, dataset, loaded.config.train.seed)
    found = Outcomes()
    for number in range(options.seeds):
        _one_seed(setting, options, progress, found, number)
    fit_baselines(setting, options, progress, found)
    results = Results(
        command=options.command,
        data=data_size(setting),
        privacy=found.privacy or no_privacy(dataset.excludes),
        rows=tuple(r for name, each in found.measured.items() for r in summaries.rows(name, each)),
        paired=tuple(summaries.paired(found.measured, models.BACKOFF)),
        rounds=training_rounds(found.records, options.private),
        regions={
            name: RegionResult.model_validate(
                {"sites": each.release.sites, "privacy": each.release.privacy}
            )
            for name, each in found.regions.items()
        },
        sites=found.sites,
        seconds=time.monotonic() - began,
        peak_rss_mib=peak_rss_mib(),
    )
    _write(setting, loaded, options, found, results)
    run_out.put_quarantine(quarantine, options.out)
    return results


def _one_seed(
    setting: Setting, options: Options, progress: Progress, found: Outcomes, number: int
) -> None:
    """All models that depend on the seed."""

    def name_run(name: str) -> str:
        return run_id(seed, name)

    seed = setting.config.train.seed + number
    variants = models.federated_variants(
        setting.config, everything=options.everything, private=options.private
    )
    for variant in variants:
        saved = number == 0 and variant is variants[0]
        with folder_of(options, saved) as folder:
            _federated(setting, options, progress, found, variant, seed, folder, saved)
    plan = setting.plan(setting.config, variants[0].spec, run=run_id(seed, models.CENTRAL))
    progress.phase("training the same model in one place", 0)
    workplace = setting.pooled_workplace(plan)
    state = train_centrally(
        workplace, plan, setting.surroundings_of(bert=setting.config.model.bert), seed
    )
    found.add(models.CENTRAL, evaluate(model_scorer(workplace, state), setting.measured))
    if options.everything:
        for variant in models.unseen_variants(setting.config) if options.private else ():
            progress.phase(f"training {variant.name} without forty labels", 0)
            measured = measure_unseen(setting, variant, seed, name_run)
            found.join(variant.name, number, measured)
        progress.phase("training at each site alone", len(setting.sites.names))
        found.add(models.LOCAL_ONLY, setting.measure_local_only(plan, seed, progress.advanced))


def _federated(
    setting: Setting,
    options: Options,
    progress: Progress,
    found: Outcomes,
    variant: Variant,
    seed: int,
    folder: Path,
    saved: bool,
) -> None:
    plan = setting.plan(variant.config, variant.spec, run=run_id(seed, variant.name))
    wanted = options.regions if saved else {}
    own = regions.planned(setting, wanted, lambda name: run_id(seed, name))
    agreed = regions.agreed(plan, own)
    if saved:
        if not options.resume:  # nothing of an earlier run goes before this one's plan stands
            run_out.begin(options.out)
        progress.prepared(data_facts(setting))
        progress.planned(plan, setting.sized(variant.config))
    progress.phase(f"training {variant.name}", 0 if saved else plan.rounds)
    watch = watch_of(progress, saved)
    engine = engine_of(options)
    with engine(
        setting,
        plan,
        folder,
        seed=seed,
        noisy=variant.noisy,
        resume=options.resume and saved,
        watch=watch,
        agreed=agreed,
    ) as running:
        raise_unless_finished(running.report)
        if saved:
            found.records = running.state.records
            found.model, found.plan = running.model, plan
        workplace = setting.pooled_workplace(plan)
        progress.phase(f"measuring {variant.name}", 0)
        scorer = model_scorer(workplace, running.model)
        found.add(variant.name, evaluate(scorer, setting.measured))
    for region in own:
        progress.phase(f"releasing the demand of {region.name}, by its own sites", 1)
        found.regions[region.name] = regions.release(
            region, folder, agreed, seed=seed, noisy=variant.noisy, resume=options.resume,
            watch=watch, ended=raise_unless_finished,
        )  # fmt: skip
    if saved:
        _keep_promise(setting, options, found, plan, agreed)


def _keep_promise(
    setting: Setting, options: Options, found: Outcomes, plan: Plan, agreed: Agreed
) -> None:
    """Read from the ledgers what everything together has cost."""
    excludes = setting.dataset.excludes
    with ExitStack() as stack:
        ledgers = regions.ledgers(stack, setting, plan, options.out, agreed)
        found.privacy = (
            privacy_of(plan, ledgers.values(), excludes)
            if options.private
            else no_privacy(excludes)
        )
        found.sites = spent_of(plan, ledgers, agreed.policies) if options.private else {}
        write_heads(options.out, ledgers)


def fit_baselines(setting: Setting, options: Options, progress: Progress, found: Outcomes) -> None:
    """Fit and measure the baselines of the table."""
    names = baselines.ALL if options.everything else baselines.QUICK
    progress.phase("fitting and measuring the baselines", len(names))
    for name in names:
        # Counting baselines have no randomness: one seed says all.
        for number in range(options.seeds if name in baselines.SEEDED else 1):
            data = TrainingData(
                setting.sites.pooled.histories,
                setting.dataset.task,
                setting.dataset.catalogue,
                setting.dataset.times,
                setting.config.train.seed + number,
            )
            fitted = baselines.make(name).fit(data)
            found.add(name, evaluate(fitted.scores, setting.measured))
        progress.advanced()


def _write(
    setting: Setting,
    loaded: LoadedConfig,
    options: Options,
    found: Outcomes,
    results: Results,
) -> None:
    out = options.out
    if found.model is None or found.plan is None:
        raise PausedError("the run has no model")
    save_trained(
        out / "model", setting, found.plan, found.model, results.privacy, results.rows,
        found.regions,
    )  # fmt: skip
    write_whole(out / "config.toml", effective_config(loaded, setting, found.plan, out).encode())
    results.write(out / "results.json")
    write_report(out / "report.html", setting, found.measured, results, out / "model", found.plan)
