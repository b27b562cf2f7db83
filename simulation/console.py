"""What ``groundswell simulate`` shows: phases with progress, one line a round, the final table."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from groundswell.server.checkpointing import RoundRecord
from groundswell.server.schedule import Step, schedule
from groundswell.shared.accounting import warnings_for
from groundswell.shared.config_file import LoadedConfig
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.plan import GRADIENT, Plan, PlannedRelease
from groundswell.shared.results import Privacy, Results
from groundswell.shared.sizing import Price, SizedPlan
from groundswell.shared.spec import ModelSpec
from groundswell.simulation.federation import load_dataset
from groundswell.simulation.joint import JointSetting
from groundswell.simulation.progress import Progress
from groundswell.simulation.promise import NOT_PRIVATE, REHEARSAL
from groundswell.simulation.regions import Region, agreed, planned
from groundswell.simulation.running import Options, run_id
from groundswell.simulation.setting import Setting
from groundswell.simulation.tables import results_table
from groundswell.simulation.together import FOLDER, joint_setting

console = Console(stderr=True, soft_wrap=True)
_TIERS = {
    "C": "against whoever sees sums and model; rests on secure aggregation and honest sites",
    "L": "against the coordinator and all other sites together; rests on the site's code alone",
}


@contextmanager
def showing(options: Options, stop: threading.Event) -> Iterator[Progress]:
    """Callbacks that print, for the time of the block."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # A bar that nobody sees leaves an empty line behind, for instance before an error.
    seen = console.is_terminal
    with Bar(*columns, console=console, transient=True, disable=not seen) as bar:
        shown = _Shown(bar, options)
        yield Progress(
            phase=shown.phase,
            advanced=shown.advanced,
            prepared=shown.prepared,
            planned=shown.planned,
            started=shown.started,
            closed=shown.closed,
            void=shown.void,
            stop=stop.is_set,
        )


class _Shown:
    """State of the display."""

    def __init__(self, bar: Bar, options: Options) -> None:
        self._bar = bar
        self._options = options
        self._task: TaskID | None = None
        self._rounds = 0
        self._sound = False
        self._began = time.monotonic()

    def phase(self, text: str, steps: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(text, total=steps or None)
        # Bad input is one line alone: nothing that stays is printed before the data are sound.
        if self._sound:
            self._line(text)

    def prepared(self, facts: Sequence[str]) -> None:
        self._sound = True
        if not self._options.private:
            console.print(f"[bold red]{NOT_PRIVATE}[/]")
        for fact in facts:
            self._line(escape(fact))

    def _line(self, text: str) -> None:
        console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]  {text}", highlight=False)

    def advanced(self) -> None:
        if self._task is not None:
            self._bar.advance(self._task)

    def planned(self, plan: Plan, sized: SizedPlan) -> None:
        self._rounds = plan.rounds
        if self._options.private:
            print_plan(plan, sized)
        self._bar.update(self._task, total=len(schedule(plan))) if self._task else None

    def started(self, step: Step) -> None:
        if self._task is not None:
            what = f"round {step.round}" if step.kind == GRADIENT else f"{step.kind} ({step.phase})"
            self._bar.update(self._task, description=f"secure sum: {what}")

    def closed(self, record: RoundRecord) -> None:
        self.advanced()
        console.print(round_line(record, self._rounds, private=self._options.private))

    def void(self, step: Step, error: AttemptVoid) -> None:
        console.print(f"[yellow]void attempt: {step.kind}: {error}[/]")


def round_line(record: RoundRecord, rounds: int, *, private: bool) -> str:
    """One line of a closed attempt; what was not paid for is "-"."""
    if record.kind == GRADIENT:
        name = f"round {record.round:>3}/{rounds}"
    else:
        name = f"{record.kind} ({record.phase})"
    score = "-"
    if record.ndcg is not None:
        score = f"{record.ndcg:.3f} +- {record.ndcg_se or 0:.3f}"
    epsilons = (
        f"eps_C {record.central_epsilon:5.2f}  eps_L {record.local_epsilon:5.2f}"
        if private
        else "[bold red]no privacy[/]"
    )
    size = record.bytes / 1e6
    return (
        f"{name:<24} loss -  NDCG@10 {score:<15} {epsilons}  "
        f"{len(record.survivors)} sites  {size:6.1f} MB  {record.seconds:5.1f} s"
    )


def print_plan(plan: Plan, sized: SizedPlan) -> None:
    """The plan's releases and both epsilons, with what each protects against."""
    later = f" and {plan.later_refreshes} later refreshes" if plan.later_refreshes else ""
    console.print(
        f"plan {plan.hash().hex()[:12]}: {plan.rounds} rounds, n_min {plan.n_min}, "
        f"c {plan.colluders}, delta {plan.delta:.0e}; reserved with all retries{later}: "
        f"eps_C {sized.eps_c:.2f}, eps_L {sized.eps_l:.2f}"
    )
    for tier, meaning in _TIERS.items():
        console.print(f"[dim]  {tier}: {meaning}[/]")
    for sentence in warnings_for(sized.eps_l, plan.n_min - plan.colluders):
        console.print(f"[yellow]  {sentence}[/]")


def print_dry_run(loaded: Sequence[LoadedConfig], options: Options) -> None:
    """The plan and the price of each kind of release, of one merchant's data or of several."""
    config = loaded[0].config
    setting: Setting | JointSetting
    regions: Sequence[Region] = ()
    if len(loaded) > 1:
        setting = joint_setting(loaded, options)
    else:
        setting = Setting.build(config, load_dataset(loaded[0]), config.train.seed)
        regions = planned(setting, options.regions, lambda name: run_id(config.train.seed, name))
    plan = setting.plan(config, ModelSpec.of(config.model))
    sized = setting.sized(config)
    if not options.private:
        console.print(f"[bold red]{NOT_PRIVATE}; with it, this would be the price:[/]")
    print_plan(plan, sized)
    for release in plan.releases:
        _print_release(release, sized.price(release.kind))
    for region in regions:
        (release,) = region.plan.releases
        console.print(
            f"on top, by the {len(region.names)} sites of {region.name} alone (n_min "
            f"{region.plan.n_min}, c {region.plan.colluders}):"
        )
        _print_release(release, Price(region.sized.eps_c, region.sized.eps_l))
    policies = agreed(plan, regions).policies
    for site, policy in sorted(policies.items()):
        price = policy.price()
        console.print(
            f"[dim]  {site}: both together reserve eps_C {price.eps_c:.2f}, eps_L "
            f"{price.eps_l:.2f}[/]"
        )


def _print_release(release: PlannedRelease, price: Price) -> None:
    console.print(
        f"  {release.kind:<12} {release.count:>3} + {release.retries} retries  "
        f"sigma_L {release.noise_multiplier:7.3f}  q {release.sampling_rate:.2f}  "
        f"C {release.clip_norm:g}  d {release.dimension}  "
        f"costs eps_C {price.eps_c:.3f}, eps_L {price.eps_l:.3f}"
    )


def print_results(
    results: Results, options: Options, *, aside: bool = False, together: bool = False
) -> None:
    """The final table, both epsilons, and where things are.

    Args:
        aside: on standard error, where standard output is for the figures as JSON.
        together: merchants with several catalogues took part.
    """
    out = Console(soft_wrap=True, stderr=aside)
    Console(stderr=aside).print(results_table(results))
    privacy = results.privacy
    if privacy.private:
        for tier, figures in (("C", privacy.central), ("L", privacy.local)):
            out.print(
                f"eps_{tier} {figures.epsilon:.2f} at delta {privacy.delta:.0e} "
                f"(a membership test at 1 % false positives finds at most "
                f"{100 * (figures.tpr_at_1pct_fpr or 0):.1f} %): {_TIERS[tier]}"
            )
        for sentence in warnings_for(privacy.local.epsilon or 0.0, _honest(privacy)):
            out.print(f"[yellow]{sentence}[/]")
        for name, region in results.regions.items():
            out.print(
                f"of this the demand of {name}, by its {region.sites} sites alone: "
                f"eps_C {region.privacy.central.epsilon:.2f}, "
                f"eps_L {region.privacy.local.epsilon:.2f}"
            )
        if privacy.seeded:
            out.print(f"[bold]{REHEARSAL}[/]")
    else:
        out.print(f"[bold red]{NOT_PRIVATE}[/]")
    out.print(
        f"{results.seconds:.0f} s, {results.peak_rss_mib:.0f} MiB; "
        + (
            f"table, report and model of each catalogue: {options.out / FOLDER}"
            if together
            else f"report {options.out / 'report.html'}, model {options.out / 'model'}"
        )
    )


def _honest(privacy: Privacy) -> int:
    """Honest sites that the central tier counts on, from the two noise multipliers."""
    central = privacy.central.noise_multiplier or 0.0
    local = privacy.local.noise_multiplier or 1.0
    return max(1, round((central / local) ** 2))
