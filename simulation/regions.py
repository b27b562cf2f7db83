"""Releases of demand by region in a simulation: each a run of its own, as in a deployment.

The regions are the user's own choice here; in a deployment the CA writes them into certificates
(docs/decisions/regions-as-runs.md). Plan, noise, messages, policy and ledger are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundswell.client.contributions import SiteData
from groundswell.client.ledger import Ledger
from groundswell.client.policy import SitePolicy
from groundswell.server.applying import Surroundings
from groundswell.server.planning import Federation, ModelFacts, make_plan, region_plan_terms
from groundswell.server.released_model import privacy_of
from groundswell.server.rounds import Report, Watch
from groundswell.shared.backbone import Backbone
from groundswell.shared.demand_release import RegionRelease, of_region
from groundswell.shared.errors import GroundswellError, InputError, Refusal
from groundswell.shared.histories import Float32
from groundswell.shared.identity import is_name
from groundswell.shared.plan import DEMAND, Plan
from groundswell.shared.sizing import SizedPlan
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation.federated import Federated, recipes, run_in_process
from groundswell.simulation.promise import no_privacy
from groundswell.simulation.seeded import SeededRandomness
from groundswell.simulation.setting import Setting
from groundswell.simulation.vaults import Agreed

FOLDER = "regions"


@dataclass(frozen=True)
class Region:
    """A region, as ``federated.Participants``, with the plan of its release.

    Attributes:
        names: of its sites, sorted.
        sized: the noise of the release.
    """

    name: str
    names: tuple[str, ...]
    plan: Plan
    sized: SizedPlan
    setting: Setting = field(repr=False)

    @property
    def backbone(self) -> Backbone:
        return self.setting.backbone

    @property
    def declared(self) -> dict[str, int]:
        """Of all sites of the federation, whose certificates stay as they are."""
        return self.setting.declared

    def site_data(self, name: str) -> SiteData:
        """One site's data, as its vault holds it."""
        return self.setting.site_data(name)

    def initial_model(self, spec: ModelSpec) -> ModelState:
        """Trainable weights, which the release neither reads nor changes."""
        return self.setting.initial_model(spec)

    def surroundings(self, *, bert: bool) -> tuple[Surroundings, ...]:
        """What post-processing uses of the one catalogue."""
        return self.setting.surroundings(bert=bert)


@dataclass(frozen=True)
class Released:
    """What the sites of a region released: tensors under the region's names, and their price."""

    tensors: Mapping[str, Float32] = field(repr=False)
    release: RegionRelease


def planned(
    setting: Setting, wanted: Mapping[str, Sequence[str]], run_id: Callable[[str], str]
) -> tuple[Region, ...]:
    """A plan for each region's release.

    Args:
        wanted: the sites of each region.
        run_id: makes a run's id of its name.

    Raises:
        InputError: a name that no certificate may carry, a site that there is not or that has two
            regions, fewer sites than a roster of their own needs, or no demand to release.
    """
    of: dict[str, str] = {}
    for region, sites in wanted.items():
        if not is_name(region):
            raise InputError(
                "--region", region, "is no name that a certificate may carry", "write it like north"
            )
        for site in sites:
            if site not in setting.names:
                known = ", ".join(setting.names)
                raise InputError("--region", site, "there is no such site", f"name some of {known}")
            if site in of:
                raise InputError(
                    "--region", site, f"is of {of[site]} already", "a site has one region"
                )
            of[site] = region
    return tuple(
        _planned(setting, region, tuple(sorted(sites)), run_id(f"region {region}"))
        for region, sites in wanted.items()
    )


def _planned(setting: Setting, region: str, names: tuple[str, ...], run: str) -> Region:
    config, spec = setting.config, ModelSpec.of(setting.config.model)
    federation = Federation(names, sum(setting.declared[name] for name in names))
    try:
        alone, sized = region_plan_terms(config, region, federation, setting.federation)
    except Refusal as refusal:
        raise InputError(
            "--region",
            f"{region}={','.join(names)}",
            refusal.rule,
            "name more sites; or set [privacy].n_min, 2 at least and above [privacy].colluders",
        ) from refusal
    backbone, data = setting.backbone, setting.dataset
    facts = ModelFacts(backbone.name, backbone.hash, spec.to_dict(), setting.initial_model(spec))
    plan = make_plan(
        alone,
        federation,
        sized,
        [data.catalogue],
        data.task,
        data.times,
        facts,
        run=run,
        region=region,
    )
    return Region(region, names, plan, sized, setting)


def agreed(plan: Plan, regions: Sequence[Region]) -> Agreed:
    """Certificates that name the regions, and policies that pay for their releases as well.

    A site's policy is the narrowest for ``plan``, and for one release of its own region on top.
    """
    of = {name: region for region in regions for name in region.names}
    own = SitePolicy.for_plan(plan)
    return Agreed(
        {name: region.name for name, region in of.items()},
        {name: own.paying_for(region.plan) for name, region in of.items()},
    )


def release(
    region: Region,
    folder: Path,
    agreement: Agreed,
    *,
    seed: int,
    noisy: bool,
    resume: bool,
    watch: Watch,
    ended: Callable[[Report], None],
) -> Released:
    """Run the region's release with its sites' own ledgers.

    Args:
        folder: of the whole simulation, whose keys and ledgers are used.
        seed: of the simulation; the region's sample and noise are drawn from one of its own.
        ended: raises where the run did not finish.

    Raises:
        GroundswellError: the release is not among what the run left.
    """
    own_seed = int(SeededRandomness(seed, FOLDER, region.name).words(1)[0])
    with run_in_process(
        region,
        region.plan,
        folder,
        seed=own_seed,
        noisy=noisy,
        resume=resume,
        watch=watch,
        agreed=agreement,
        state=folder / FOLDER / region.name,
    ) as running:
        ended(running.report)
        return _released(region, running, private=noisy)


def _released(region: Region, running: Federated, *, private: bool) -> Released:
    until = region.plan.schedule.train_until
    records = [record for record in running.state.records if record.kind == DEMAND]
    if until is None or not records:
        raise GroundswellError(f"the sites of {region.name} released no demand; run it again")
    excludes = region.setting.dataset.excludes
    privacy: dict[str, Any] = (
        {**privacy_of(region.plan, running.state), "seeded": True}
        if private
        else no_privacy(excludes).model_dump(mode="json")
    )
    sites = len(records[-1].survivors)
    tensors = of_region(running.model.statistics, region.name)
    return Released(tensors, RegionRelease(until, sites, privacy))


def ledgers(
    stack: ExitStack, setting: Setting, plan: Plan, folder: Path, agreement: Agreed
) -> dict[str, Ledger]:
    """Every site's ledger, open until the stack ends."""
    found = {}
    made = recipes(setting, plan, folder, seed=0, noisy=True, agreed=agreement)
    for name, recipe in made.items():
        found[name] = recipe.ledger()
        stack.callback(found[name].close)
    return found
