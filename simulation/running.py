"""What every simulated run shares: options and outcomes, engine, end and figures."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from groundswell.client.ledger import Ledger
from groundswell.server.checkpointing import RoundRecord
from groundswell.server.rounds import Outcome, Report, Watch
from groundswell.shared.errors import GroundswellError
from groundswell.shared.plan import EVALUATION, GRADIENT, Plan
from groundswell.shared.results import DataSize, Privacy, Round, SiteSpent, write_whole
from groundswell.shared.transfer import ModelState
from groundswell.simulation.evaluate import Measurement
from groundswell.simulation.federated import Federated, run_in_process
from groundswell.simulation.progress import Progress
from groundswell.simulation.regions import Released
from groundswell.simulation.seeded import SeededRandomness
from groundswell.simulation.setting import Setting


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
        sites: what each site's ledger has spent on it.
        regions: what the sites of each region released by themselves.
    """

    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    privacy: Privacy | None = None
    records: tuple[RoundRecord, ...] = ()
    model: ModelState | None = None
    plan: Plan | None = None
    regions: dict[str, Released] = field(default_factory=dict)
    sites: dict[str, SiteSpent] = field(default_factory=dict)

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


def run_id(seed: int, name: str) -> str:
    """A run's name that follows from the seed, so that a simulation can be repeated."""
    return SeededRandomness(seed, "run", name).words(2).tobytes().hex()


def engine_of(options: Options) -> Callable[..., AbstractContextManager[Federated]]:
    """What runs a federation: this process, or Flower's Ray engine."""
    if not options.ray:
        return run_in_process
    from groundswell.simulation.ray_engine import run_on_ray  # Ray takes seconds to import

    return run_on_ray


@contextmanager
def folder_of(options: Options, saved: bool) -> Iterator[Path]:
    """The run's own folder for the saved model; a temporary one for what is only measured."""
    if saved:
        yield options.out
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def watch_of(progress: Progress, saved: bool) -> Watch:
    """Tells of each attempt where the model is saved; of what is only measured, how far it is."""
    return Watch(
        started=progress.started if saved else lambda step: None,
        closed=progress.closed if saved else lambda record: progress.advanced(),
        void=progress.void,
        stop=progress.stop,
    )


def write_heads(out: Path, ledgers: Mapping[str, Ledger]) -> None:
    """Write ``heads.json``: the head of each site's ledger, as its peers saw it last."""
    heads = {
        name: {"row": ledger.head().row, "hash": ledger.head().hash.hex()}
        for name, ledger in ledgers.items()
    }
    write_whole(out / "heads.json", (json.dumps(heads, indent=1) + "\n").encode())


def raise_unless_finished(report: Report) -> None:
    """Raises StoppedError or PausedError."""
    if report.outcome is Outcome.STOPPED:
        raise StoppedError("stopped after the attempt in hand; --resume goes on from there")
    if report.outcome is Outcome.PAUSED:
        raise PausedError(f"the run is paused: {report.reason}; --resume goes on from there")


def data_facts(setting: Setting) -> list[str]:
    """What was read, and what to know of it."""
    size, dataset = data_size(setting), setting.dataset
    facts = [
        f"read {dataset.name}: {size.events:,} events of {size.users:,} users at {size.sites} "
        f"sites, {size.labels:,} labels"
    ]
    if dataset.generated:
        facts.append("these events are generated, not real")
    return [*facts, *dataset.notes]


def data_size(setting: Setting) -> DataSize:
    """How much there is to learn from."""
    histories = setting.sites.pooled.histories
    return DataSize(
        events=histories.events,
        users=len(histories),
        sites=len(setting.sites.names),
        labels=len(setting.dataset.catalogue),
    )


def training_rounds(records: tuple[RoundRecord, ...], private: bool) -> tuple[Round, ...]:
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


def peak_rss_mib() -> float:
    """Largest resident memory of this process and of any child."""
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(own_peak, children) / 1024
