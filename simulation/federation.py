"""``groundswell simulate``: a whole federation on this machine, measured against its baselines."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from groundswell.server.checkpointing import RoundRecord
from groundswell.server.rounds import Outcome, Report, Watch
from groundswell.shared.config_file import LoadedConfig, load_config
from groundswell.shared.errors import GroundswellError
from groundswell.shared.plan import EVALUATION, GRADIENT, Plan
from groundswell.shared.results import (
    DataSize,
    Privacy,
    RegionResult,
    Results,
    Round,
    write_whole,
)
from groundswell.shared.transfer import ModelState
from groundswell.simulation import baselines, models, regions, run_out, summaries
from groundswell.simulation.baselines.baseline import TrainingData
from groundswell.simulation.central import train_centrally
from groundswell.simulation.datasets import complete_journey, own
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.evaluate import Measurement, evaluate
from groundswell.simulation.federated import Federated, run_in_process
from groundswell.simulation.models import Variant
from groundswell.simulation.progress import Progress
from groundswell.simulation.promise import no_privacy, privacy_of
from groundswell.simulation.regions import Released
from groundswell.simulation.report import write_report
from groundswell.simulation.saving import effective_config, save_trained
from groundswell.simulation.scoring import model_scorer
from groundswell.simulation.seeded import SeededRandomness
from groundswell.simulation.setting import Setting
from groundswell.simulation.unseen import measure_unseen
from groundswell.simulation.vaults import Agreed


class StoppedError(GroundswellError):
    """The run was asked to stop; what is done is saved and ``--resume`` goes on from there."""


class PausedError(GroundswellError):
    """Too few sites answered; the state is saved."""


@dataclass(frozen=True)
class Options:
    """How a simulation is run.

    Attributes:
        out: folder for everything that the run leaves.
        seeds: number of seeds; the model of the first one is saved.
        everything: all rows of the table, not the quick ones alone.
        private: False under ``--no-privacy``.
        resume: go on from what ``out`` holds.
        ray: on Flower's Ray engine instead of in this process.
        regions: the sites of each region that releases its demand as well, by itself.
        command: the command line, for ``results.json``.
    """

    out: Path
    seeds: int = 1
    everything: bool = False
    private: bool = True
    resume: bool = False
    ray: bool = False
    regions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    command: str = "groundswell.simulate"


@dataclass
class Outcomes:
    """What the run has found so far.

    Attributes:
        measured: measurements of each model, one a seed.
        privacy, records, model: of the model that is saved.
        regions: what the sites of each region released by themselves.
    """

    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    privacy: Privacy | None = None
    records: tuple[RoundRecord, ...] = ()
    model: ModelState | None = None
    plan: Plan | None = None
    regions: dict[str, Released] = field(default_factory=dict)

    def add(self, name: str, measurement: Measurement) -> None:
        """Note one model's measurement for one more seed."""
        self.measured.setdefault(name, []).append(measurement)

    def join(self, name: str, number: int, measurement: Measurement) -> None:
        """Add another slice to the measurement of one seed, which may be the model's first."""
        seeds = self.measured.setdefault(name, [])
        if number == len(seeds):
            seeds.append(measurement)
        else:
            seeds[number] = seeds[number].joined(measurement)


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
    _baselines(setting, options, progress, found)
    results = Results(
        command=options.command,
        data=_size(setting),
        privacy=found.privacy or no_privacy(dataset.excludes),
        rows=tuple(r for name, each in found.measured.items() for r in summaries.rows(name, each)),
        paired=tuple(summaries.paired(found.measured, models.BACKOFF)),
        rounds=_rounds(found.records, options.private),
        regions={
            name: RegionResult.model_validate(
                {"sites": each.release.sites, "privacy": each.release.privacy}
            )
            for name, each in found.regions.items()
        },
        seconds=time.monotonic() - began,
        peak_rss_mib=_peak_rss_mib(),
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
        with _folder(options, saved) as folder:
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
        progress.prepared(_facts(setting))
        progress.planned(plan, setting.sized(variant.config))
    progress.phase(f"training {variant.name}", 0 if saved else plan.rounds)
    watch = Watch(
        started=progress.started if saved else lambda step: None,
        closed=progress.closed if saved else lambda record: progress.advanced(),
        void=progress.void,
        stop=progress.stop,
    )
    engine = _engine(options)
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
        _finish(running.report)
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
            watch=watch, ended=_finish,
        )  # fmt: skip
    if saved:
        _keep_promise(setting, options, found, plan, agreed)


def _engine(options: Options) -> Callable[..., AbstractContextManager[Federated]]:
    if not options.ray:
        return run_in_process
    from groundswell.simulation.ray_engine import run_on_ray  # Ray takes seconds to import

    return run_on_ray


def _finish(report: Report) -> None:
    if report.outcome is Outcome.STOPPED:
        raise StoppedError("stopped after the attempt in hand; --resume goes on from there")
    if report.outcome is Outcome.PAUSED:
        raise PausedError(f"the run is paused: {report.reason}; --resume goes on from there")


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
        heads = {
            name: {"row": ledger.head().row, "hash": ledger.head().hash.hex()}
            for name, ledger in ledgers.items()
        }
    write_whole(options.out / "heads.json", (json.dumps(heads, indent=1) + "\n").encode())


def _baselines(setting: Setting, options: Options, progress: Progress, found: Outcomes) -> None:
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
    write_report(out / "report.html", setting, found.measured, results, out / "model")


@contextmanager
def _folder(options: Options, saved: bool) -> Iterator[Path]:
    """The run's own folder for the saved model; a temporary one for what is only measured."""
    if saved:
        yield options.out
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def run_id(seed: int, name: str) -> str:
    """A run's name that follows from the seed, so that a simulation can be repeated."""
    return SeededRandomness(seed, "run", name).words(2).tobytes().hex()


def _facts(setting: Setting) -> list[str]:
    """What was read, and what to know of it."""
    size, dataset = _size(setting), setting.dataset
    facts = [
        f"read {dataset.name}: {size.events:,} events of {size.users:,} users at {size.sites} "
        f"sites, {size.labels:,} labels"
    ]
    if dataset.generated:
        facts.append("these events are generated, not real")
    return [*facts, *dataset.notes]


def _size(setting: Setting) -> DataSize:
    histories = setting.sites.pooled.histories
    return DataSize(
        events=histories.events,
        users=len(histories),
        sites=len(setting.sites.names),
        labels=len(setting.dataset.catalogue),
    )


def _rounds(records: tuple[RoundRecord, ...], private: bool) -> tuple[Round, ...]:
    """The training rounds; an evaluation's score stands at the last round before it."""
    scores = [record.ndcg for record in records if record.kind == EVALUATION]
    rounds = [record for record in records if record.kind == GRADIENT]
    return tuple(
        Round.model_validate(
            {
                "round": record.round,
                "loss": None,
                "ndcg@10": scores[-1] if scores and record is rounds[-1] else None,
                "central_epsilon": record.central_epsilon if private else None,
                "local_epsilon": record.local_epsilon if private else None,
                "bytes": record.bytes,
                "seconds": record.seconds,
            }
        )
        for record in rounds
    )


def _peak_rss_mib() -> float:
    """Largest resident memory of this process and of any child."""
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own_peak, children) / 1024
