"""One federated run in this process: real vaults, ledgers, secure sums and strategy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from groundswell.client.ledger import Ledger
from groundswell.client.mechanism import Randomness
from groundswell.client.policy import SitePolicy
from groundswell.client.relay import app
from groundswell.client.vault import Identity, RandomSource, Vault, terms_of
from groundswell.server.checkpointing import RunState, load
from groundswell.server.rounds import Report, Run, Watch
from groundswell.server.transport import GridTransport
from groundswell.server.unmasking import SecureSum
from groundswell.shared.identity import sealed_plan
from groundswell.shared.plan import Plan
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation.grid import InProcessGrid
from groundswell.simulation.secure_sites import Consortium
from groundswell.simulation.seeded import NoNoise, SeededRandomness
from groundswell.simulation.setting import Setting

_PHASE_SECONDS = 3600.0


@dataclass(frozen=True)
class SeededSource:
    """Sample and noise that can be repeated: the output is a rehearsal, not a release.

    Attributes:
        noisy: False under ``--no-privacy``; the sample is drawn as ever.
    """

    seed: int
    site: str
    noisy: bool = True

    def sample(self, kind: str, round_number: int) -> Randomness:
        """The stream of one attempt's sample and rounding."""
        return SeededRandomness(self.seed, "sample", self.site, kind, round_number)

    def noise(self, kind: str, round_number: int) -> Randomness:
        """The stream of one attempt's noise."""
        if not self.noisy:
            return NoNoise()
        return SeededRandomness(self.seed, "noise", self.site, kind, round_number)


class NoPace:
    """In a simulation nobody watches the clock: only sampled users are computed, at once."""

    def slots(self, declared: int, rate: float) -> int | None:
        return None

    def wait(self, started: float, seconds: float) -> None:
        return


@dataclass
class Federation:
    """A federation that is ready to go.

    Attributes:
        run: the coordinator's side; ``run.state`` holds the model.
        ledgers: of every site, by name.
    """

    plan: Plan
    run: Run
    ledgers: Mapping[str, Ledger]
    vaults: Mapping[str, Vault] = field(repr=False)

    def go(self) -> Report:
        """Work off what is left of the plan."""
        return self.run.go()

    @property
    def model(self) -> ModelState:
        """What has been learned so far."""
        return self.run.state.model


@contextmanager
def federation(
    setting: Setting,
    plan: Plan,
    folder: Path,
    *,
    seed: int,
    noisy: bool = True,
    resume: bool = False,
    watch: Watch | None = None,
    source: Callable[[str], RandomSource] | None = None,
) -> Iterator[Federation]:
    """Found a consortium, open the vaults, and connect them to a run.

    Args:
        folder: for ``sites/NAME/ledger.sqlite`` and the run's state.
        seed: of sample and noise.
        noisy: whether the sites add noise.
        resume: go on from the state in ``folder``.
        source: other randomness for each site, by name.
    """
    now = int(time.time())
    consortium = Consortium.create(
        {name: name for name in setting.sites.names}, now=now - 60, declared=setting.declared
    )
    policy = SitePolicy.for_plan(plan)
    vaults: dict[str, Vault] = {}
    ledgers: dict[str, Ledger] = {}
    for name in setting.sites.names:
        member = consortium.members[name]
        path = folder / "sites" / name / "ledger.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        ledgers[name] = Ledger.create(path, member.key, name, policy)
        vaults[name] = Vault(
            Identity(member.key, member.certificate, consortium.trust),
            policy,
            ledgers[name],
            setting.site_data(name),
            randomness=source(name) if source else SeededSource(seed, name, noisy),
            pace=NoPace(),
        )
    grid = InProcessGrid(app, {name: vault.handle for name, vault in vaults.items()})
    terms = terms_of(plan)
    transport = GridTransport(grid, consortium.trust, terms, _PHASE_SECONDS)
    state = load(folder / "state", plan.hash()) if resume else None
    run = Run(
        plan,
        sealed_plan(plan.canonical_bytes(), consortium.coordinator),
        SecureSum(consortium.trust, terms, consortium.revocations()),
        transport,
        setting.surroundings,
        folder / "state",
        state or RunState.begin(setting.initial_model(ModelSpec.from_dict(plan.model))),
        watch,
    )
    try:
        yield Federation(plan, run, ledgers, vaults)
    finally:
        grid.close()
        for ledger in ledgers.values():
            ledger.close()
