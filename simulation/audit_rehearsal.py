"""A rehearsal federation for the audit: real vaults, ledgers, masks and rounds; invented users.

The auditor sees what tier C sees, the unmasked sum of every round, with ``c`` colluding sites on
its side, and has planted canaries among the users of the honest sites. It knows, and subtracts, all
that is no canary's. The claim is what the honest sites' own ledgers say.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundswell.client.annotate import encode_site
from groundswell.client.contributions import Workplace
from groundswell.client.examples import eligible_times
from groundswell.client.ledger import Ledger
from groundswell.client.prepared import PreparedSite
from groundswell.client.vault import Vault
from groundswell.server.rounds import Outcome, Watch
from groundswell.server.schedule import Step
from groundswell.server.unmasking import SecureTotal
from groundswell.shared.accounting import central_multiplier
from groundswell.shared.config import ROUNDS, Config
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import GroundswellError
from groundswell.shared.model import load_weights
from groundswell.shared.plan import GRADIENT, Plan, PlannedRelease
from groundswell.shared.spec import ModelSpec
from groundswell.simulation.audit import (
    CANARIES,
    Auditor,
    AuditReport,
    Canaries,
    Claim,
    membership_auc,
)
from groundswell.simulation.audit_data import events, invent
from groundswell.simulation.audit_sites import ColludingVault, Knowledge, PlantedData
from groundswell.simulation.federated import Federated, run_in_process
from groundswell.simulation.seeded import SeededRandomness
from groundswell.simulation.setting import Setting
from groundswell.simulation.vaults import VaultRecipe


@dataclass(frozen=True)
class Rehearsal:
    """Size of the rehearsal.

    Attributes:
        epsilon: cap of eps_C that the plan is sized for.
        users: ordinary users of one site; as many again are held out to compare losses with.
    """

    sites: int = 8
    colluders: int = 1
    rounds: int = 30
    sampling_rate: float = 0.5
    epsilon: float = 3.0
    delta: float = 1e-6
    users: int = 12

    def config(self) -> Config:
        """The rounds alone, sized for all sites surviving."""
        return load_config(
            None,
            {
                "privacy.eps_c": self.epsilon,
                "privacy.eps_l": 10 * self.epsilon,
                "privacy.colluders": self.colluders,
                "privacy.delta": self.delta,
                "privacy.n_min": self.sites,
                "privacy.split": {ROUNDS: 1.0},
                "model.statistics": (),
                "train.rounds": self.rounds,
                "train.sampling_rate": self.sampling_rate,
                "train.evaluations": 0,
            },
        ).config


def rehearse(rehearsal: Rehearsal, seed: int, *, broken: str | None = None) -> AuditReport:
    """Run the rehearsal and audit it; the same arguments give the same report.

    Args:
        seed: of users, canaries, samples and noise.
        broken: ``noise`` leaves the noise out while the claim stays, to see that it is caught.

    Raises:
        GroundswellError: the run did not come to its end.
    """
    generator = SeededRandomness(seed, "users").generator()
    config = rehearsal.config()
    dataset = invent(rehearsal.sites, rehearsal.users, generator)
    setting = Setting.build(config, dataset, seed)
    spec = ModelSpec(statistics=False)
    plan = setting.plan(config, spec, run=SeededRandomness(seed, "run").words(2).tobytes().hex())
    release = _gradient(plan)
    canaries = Canaries.draw(generator, release.dimension, CANARIES)
    known = Knowledge()
    sums: dict[int, NDArray[np.int64]] = {}

    def summed(step: Step, total: SecureTotal) -> None:
        sums[step.round] = total.total.copy()

    with (
        tempfile.TemporaryDirectory() as folder,
        run_in_process(
            setting,
            plan,
            Path(folder),
            seed=seed,
            noisy=broken != "noise",
            watch=Watch(summed=summed),
            open_vault=_opener(setting, rehearsal, canaries, known),
        ) as running,
    ):
        if running.report.outcome is not Outcome.FINISHED:
            raise GroundswellError(f"the rehearsal is {running.report.outcome}")
        claim = _claim(rehearsal, release, running)
        model = running.model
    auditor = Auditor(canaries, claim)
    for round_number, total in sums.items():
        auditor.observe(total, known.others[round_number], known.planted[round_number])
    frame = events("held-out", rehearsal.sites * rehearsal.users, generator)
    held_out = encode_site(frame, dataset.catalogue, dataset.task)
    workplace = setting.pooled_workplace(plan)
    load_weights(workplace.model, model.weights)
    members = _losses(workplace, setting.sites.pooled)
    return auditor.report(membership_auc(members, _losses(workplace, held_out)))


def _gradient(plan: Plan) -> PlannedRelease:
    release = plan.release(GRADIENT)
    if release is None:
        raise KeyError(GRADIENT)
    return release


def _opener(
    setting: Setting, rehearsal: Rehearsal, canaries: Canaries, known: Knowledge
) -> Callable[[VaultRecipe, Ledger], Vault]:
    """Opens each site's vault; the colluders come last and hold no canary."""
    honest = rehearsal.sites - rehearsal.colluders
    included = np.flatnonzero(canaries.included).astype(np.int64)

    def opened(recipe: VaultRecipe, ledger: Ledger) -> Vault:
        number = setting.sites.names.index(recipe.site)
        data = recipe.data(setting.backbone)
        if number >= honest:
            return recipe.vault(ledger, data, partial(ColludingVault, known))
        held = included[included % honest == number]
        planted = PlantedData(
            data.prepared,
            data.catalogue,
            data.backbone,
            data.encoded,
            canaries=canaries,
            held=held,
            known=known,
        )
        return recipe.vault(ledger, planted)

    return opened


def _claim(rehearsal: Rehearsal, release: PlannedRelease, running: Federated) -> Claim:
    """The largest epsilon that an honest site's ledger shows, and the noise that it rests on."""
    honest = rehearsal.sites - rehearsal.colluders
    tiers = [running.ledgers[name].spend().central for name in sorted(running.ledgers)[:honest]]
    largest = max(tiers, key=lambda tier: tier.epsilon)
    sigma = central_multiplier(release.noise_multiplier, honest, release.scale)
    return Claim(largest.epsilon, largest.delta, release.sampling_rate, sigma * release.scale)


def _losses(workplace: Workplace, prepared: PreparedSite) -> NDArray[np.float64]:
    """Each user's mean loss over all training examples; users without one are left out."""
    schedule, task = workplace.plan.schedule, workplace.task
    window = task.window_us
    times = task.prediction_times(schedule.stats_until or 0, (schedule.train_until or 0) - window)
    row, column = np.nonzero(eligible_times(prepared.histories, times, window))
    losses = workplace.gradients.losses(prepared.histories, row, times[column])
    examples = np.bincount(row)
    return np.bincount(row, losses)[examples > 0] / examples[examples > 0]
