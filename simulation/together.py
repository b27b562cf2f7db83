"""``groundswell simulate --with``: merchants with different catalogues learn one model.

There is one federation: one plan, one roster, one ledger a site, one adapter and head. What it has
learned is measured for each catalogue by itself, and left in ``catalogues/NAME`` as a simulation of
its own leaves it; the results of the whole are over all users side by side.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from groundswell.server.checkpointing import RoundRecord
from groundswell.shared.blocks import own_statistics
from groundswell.shared.config_file import LoadedConfig
from groundswell.shared.errors import InputError
from groundswell.shared.plan import Plan
from groundswell.shared.results import DataSize, Privacy, Results, SiteSpent, write_whole
from groundswell.shared.transfer import ModelState
from groundswell.simulation import models, run_out, summaries
from groundswell.simulation.central import train_centrally
from groundswell.simulation.datasets import own
from groundswell.simulation.evaluate import Measurement, evaluate, side_by_side
from groundswell.simulation.federation import fit_baselines
from groundswell.simulation.joint import JointSetting
from groundswell.simulation.models import Variant
from groundswell.simulation.progress import Progress
from groundswell.simulation.promise import no_privacy, privacy_of, spent_of
from groundswell.simulation.report import write_report
from groundswell.simulation.running import (
    Options,
    Outcomes,
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

FOLDER = "catalogues"


@dataclass
class _Run:
    """What one training run of the federation has left."""

    plan: Plan
    model: ModelState = field(repr=False)
    records: tuple[RoundRecord, ...]
    privacy: Privacy
    sites: dict[str, SiteSpent]


def simulate_together(
    loaded: Sequence[LoadedConfig], options: Options, progress: Progress | None = None
) -> Results:
    """Run one federation over several data sets.

    Args:
        loaded: a configuration for each merchant. Task, model, privacy and training are those of
            the first; of the others count where their data are, the catalogue and the sites.
        options: how it is run; without regions, and for the quick rows alone.

    Returns:
        The results over all users, which also stand in ``results.json``.

    Raises:
        InputError: a configuration or its data can't be used; nothing is written then.
        StoppedError, PausedError: the state is saved.
    """
    progress = progress or Progress()
    run_out.check(options.out, resume=options.resume)
    with tempfile.TemporaryDirectory() as aside:
        quarantine = Path(aside) / run_out.QUARANTINE
        results = _simulate(loaded, options, progress, quarantine)
        run_out.put_quarantine(quarantine, options.out)
    return results


def _check(options: Options) -> None:
    for key, given in (("--compare all", options.everything), ("--region", options.regions)):
        if given:
            raise InputError(
                key, "", "is not there for several catalogues", "leave it out, or --with"
            )


def joint_setting(
    loaded: Sequence[LoadedConfig], options: Options, quarantine: Path | None = None
) -> JointSetting:
    """The data of all configurations made ready; raises as ``simulate_together``."""
    _check(options)
    first = loaded[0].config
    configs = [
        first.model_copy(
            update={
                "data": each.config.data,
                "catalogue": each.config.catalogue,
                "sites": each.config.sites,
            }
        )
        for each in loaded
    ]
    datasets = own.load_together(configs, quarantine)
    sites = sum(len(dataset.sites) for dataset in datasets)
    parts = [
        Setting.build(config, dataset, first.train.seed, sites)
        for config, dataset in zip(configs, datasets, strict=True)
    ]
    return JointSetting(tuple(parts))


def _simulate(
    loaded: Sequence[LoadedConfig], options: Options, progress: Progress, quarantine: Path
) -> Results:
    began = time.monotonic()
    progress.phase("reading and preparing the data", 0)
    joint = joint_setting(loaded, options, quarantine)
    found = [Outcomes() for _ in joint.parts]
    runs: list[_Run] = []  # the first one's model is saved
    for number in range(options.seeds):
        seed = joint.parts[0].config.train.seed + number
        for variant in models.federated_variants(
            joint.parts[0].config, everything=False, private=options.private
        ):
            first = not runs
            with folder_of(options, first) as folder:
                runs.append(
                    _federated(joint, options, progress, found, variant, seed, folder, first)
                )
        _central(joint, progress, found, seed)
    for part, outcomes in zip(joint.parts, found, strict=True):
        fit_baselines(part, options, progress, outcomes)
    saved = runs[0]
    for part, outcomes in zip(joint.parts, found, strict=True):
        _write_part(part, options, outcomes, saved, began)
    results = _results(
        options,
        _whole_size(joint),
        {
            name: [
                side_by_side(each)
                for each in zip(*(part.measured[name] for part in found), strict=True)
            ]
            for name in found[0].measured
        },
        saved,
        began,
    )
    results.write(options.out / "results.json")
    text = effective_config(loaded[0], joint.parts[0], saved.plan, options.out)
    write_whole(options.out / "config.toml", text.encode())
    return results


def _federated(
    joint: JointSetting,
    options: Options,
    progress: Progress,
    found: Sequence[Outcomes],
    variant: Variant,
    seed: int,
    folder: Path,
    saved: bool,
) -> _Run:
    """Train one variant and measure it on each catalogue's users."""
    plan = joint.plan(variant.config, variant.spec, run=run_id(seed, variant.name))
    if saved:
        if not options.resume:
            run_out.begin(options.out)
        progress.prepared([fact for part in joint.parts for fact in data_facts(part)])
        progress.planned(plan, joint.sized(variant.config))
    progress.phase(f"training {variant.name}", 0 if saved else plan.rounds)
    watch = watch_of(progress, saved)
    with engine_of(options)(
        joint,
        plan,
        folder,
        seed=seed,
        noisy=variant.noisy,
        resume=options.resume and saved,
        watch=watch,
    ) as running:
        raise_unless_finished(running.report)
        excludes = tuple(
            dict.fromkeys(each for part in joint.parts for each in part.dataset.excludes)
        )
        privacy = (
            privacy_of(plan, running.ledgers.values(), excludes)
            if options.private
            else no_privacy(excludes)
        )
        sites = spent_of(plan, running.ledgers, {}) if options.private else {}
        if saved:
            write_heads(options.out, running.ledgers)
        left = _Run(plan, running.model, running.state.records, privacy, sites)
    progress.phase(f"measuring {variant.name}", 0)
    for part, outcomes in zip(joint.parts, found, strict=True):
        scorer = model_scorer(part.pooled_workplace(plan), left.model)
        outcomes.add(variant.name, evaluate(scorer, part.measured))
    return left


def _central(joint: JointSetting, progress: Progress, found: Sequence[Outcomes], seed: int) -> None:
    """Each catalogue's own model, in one place and without privacy."""
    for part, outcomes in zip(joint.parts, found, strict=True):
        progress.phase(f"training on {part.dataset.catalogue.name} in one place", 0)
        spec = models.federated_variants(part.config, everything=False, private=False)[0].spec
        plan = part.plan(part.config, spec, run=run_id(seed, models.CENTRAL))
        workplace = part.pooled_workplace(plan)
        around = part.surroundings_of(bert=part.config.model.bert)
        state = train_centrally(workplace, plan, around, seed)
        outcomes.add(models.CENTRAL, evaluate(model_scorer(workplace, state), part.measured))


def _write_part(
    part: Setting, options: Options, found: Outcomes, saved: _Run, began: float
) -> None:
    """What a simulation of one catalogue leaves: results, report and model.

    The rounds are of all sites, and stand in the results of the whole alone.
    """
    catalogue = part.dataset.catalogue
    out = options.out / FOLDER / catalogue.name
    alone = replace(saved, records=(), sites={})
    results = _results(options, data_size(part), found.measured, alone, began)
    number = saved.plan.catalogue_number(catalogue.hash) or 0
    own_state = replace(
        saved.model,
        statistics=own_statistics(saved.model.statistics, saved.plan.catalogues, number),
    )
    save_trained(out / "model", part, saved.plan, own_state, results.privacy, results.rows)
    results.write(out / "results.json")
    write_report(out / "report.html", part, found.measured, results, out / "model", saved.plan)


def _results(
    options: Options,
    data: DataSize,
    measured: dict[str, list[Measurement]],
    saved: _Run,
    began: float,
) -> Results:
    return Results(
        command=options.command,
        data=data,
        privacy=saved.privacy,
        rows=tuple(row for name, each in measured.items() for row in summaries.rows(name, each)),
        paired=tuple(summaries.paired(measured, models.BACKOFF)),
        rounds=training_rounds(saved.records, options.private),
        sites=saved.sites,
        seconds=time.monotonic() - began,
        peak_rss_mib=peak_rss_mib(),
    )


def _whole_size(joint: JointSetting) -> DataSize:
    sizes = [data_size(part) for part in joint.parts]
    return DataSize(
        events=sum(each.events for each in sizes),
        users=sum(each.users for each in sizes),
        sites=sum(each.sites for each in sizes),
        labels=sum(each.labels for each in sizes),
    )
