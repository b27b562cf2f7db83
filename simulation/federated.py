"""One federated run on this machine: real vaults, ledgers, secure sums and strategy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flwr.serverapp import Grid

from groundswell.client.contributions import SiteData
from groundswell.client.ledger import Ledger
from groundswell.client.relay import app
from groundswell.client.vault import Vault
from groundswell.server.applying import Surroundings
from groundswell.server.checkpointing import RunState, load
from groundswell.server.rounds import Report, Run, Watch
from groundswell.server.transport import GridTransport
from groundswell.server.unmasking import SecureSum
from groundswell.shared.backbone import Backbone
from groundswell.shared.identity import sealed_plan
from groundswell.shared.plan import Plan
from groundswell.shared.roster import terms_of
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation.grid import InProcessGrid
from groundswell.simulation.secure_sites import Consortium
from groundswell.simulation.vaults import Agreed, VaultRecipe

PHASE_SECONDS = 3600.0
# Certificates begin a little earlier than now, so that no two clocks can disagree about it.
_CLOCK_SLACK = 60
NOTHING_MORE = Agreed()


class Participants(Protocol):
    """The sites of a run, and what is public about them: of one data set, or of several."""

    @property
    def backbone(self) -> Backbone: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sites, sorted."""

    @property
    def declared(self) -> dict[str, int]:
        """The declared number of users of each site."""

    def site_data(self, name: str) -> SiteData:
        """One site's data, as its vault holds it."""

    def initial_model(self, spec: ModelSpec) -> ModelState:
        """Trainable weights before the first round."""

    def surroundings(self, *, bert: bool) -> tuple[Surroundings, ...]:
        """What post-processing uses of each of the plan's catalogues, in their order."""


@dataclass(frozen=True)
class Federated:
    """How one federated run came out.

    Attributes:
        state: the coordinator's; ``state.model`` is what was learned.
        ledgers: of every site, open for reading, by name.
    """

    plan: Plan
    report: Report
    state: RunState
    ledgers: Mapping[str, Ledger] = field(repr=False)

    @property
    def model(self) -> ModelState:
        """What was learned."""
        return self.state.model


def recipes(
    sites: Participants,
    plan: Plan,
    folder: Path,
    *,
    seed: int,
    noisy: bool,
    agreed: Agreed = NOTHING_MORE,
) -> dict[str, VaultRecipe]:
    """What each site's vault is made of."""
    now = int(time.time()) - _CLOCK_SLACK
    found = {}
    for name in sites.names:
        data = sites.site_data(name)
        found[name] = VaultRecipe(
            name,
            folder,
            plan,
            sites.declared,
            now,
            data.prepared,
            data.catalogue,
            data.encoded,
            seed,
            noisy,
            agreed,
        )
    return found


def make_run(
    sites: Participants,
    plan: Plan,
    folder: Path,
    grid: Grid,
    consortium: Consortium,
    *,
    first_seq: int,
    resume: bool,
    watch: Watch | None,
    state_folder: Path | None = None,
) -> Run:
    """The coordinator's side of a run over ``grid``.

    Args:
        first_seq: above every attempt that a site's ledger has seen.
        resume: go on from the state that was kept.
        state_folder: where it is kept; ``state`` in ``folder`` unless it is named.
    """
    terms = terms_of(plan)
    kept = state_folder or folder / "state"
    state = load(kept, plan.hash()) if resume else None
    spec = ModelSpec.from_dict(plan.model)
    return Run(
        plan,
        sealed_plan(plan.canonical_bytes(), consortium.coordinator),
        SecureSum(consortium.trust, terms, consortium.revocations(), first_seq=first_seq),
        GridTransport(grid, consortium.trust, plan, PHASE_SECONDS),
        sites.surroundings(bert=spec.bert),
        kept,
        state or RunState.begin(sites.initial_model(spec)),
        watch,
    )


@contextmanager
def run_in_process(
    sites: Participants,
    plan: Plan,
    folder: Path,
    *,
    seed: int,
    noisy: bool = True,
    resume: bool = False,
    watch: Watch | None = None,
    open_vault: Callable[[VaultRecipe, Ledger], Vault] | None = None,
    agreed: Agreed = NOTHING_MORE,
    state: Path | None = None,
) -> Iterator[Federated]:
    """Run a federation in this process; its ledgers stay open for the block.

    Args:
        folder: for keys, ``sites/NAME/ledger.sqlite`` and the run's state.
        seed: of sample and noise.
        noisy: whether the sites add noise.
        open_vault: opens each site's vault, where it is not the recipe's own.
        agreed: what certificates and policies say beyond this run.
        state: where the run's state is kept, if not in ``folder``.
    """

    def plain(recipe: VaultRecipe, ledger: Ledger) -> Vault:
        return recipe.vault(ledger, recipe.data(sites.backbone))

    opened = open_vault or plain
    found = recipes(sites, plan, folder, seed=seed, noisy=noisy, agreed=agreed)
    consortium = next(iter(found.values())).consortium()
    with ExitStack() as stack:
        ledgers = {}
        for name, recipe in found.items():
            ledgers[name] = recipe.ledger()
            stack.callback(ledgers[name].close)
        grid = InProcessGrid(
            app,
            {name: opened(recipe, ledgers[name]).handle for name, recipe in found.items()},
        )
        stack.callback(grid.close)
        run = make_run(
            sites,
            plan,
            folder,
            grid,
            consortium,
            first_seq=1 + max(ledger.highest_seq for ledger in ledgers.values()),
            resume=resume,
            watch=watch,
            state_folder=state,
        )
        report = run.go()
        yield Federated(plan, report, run.state, ledgers)
