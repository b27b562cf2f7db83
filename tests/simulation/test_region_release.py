"""A region's demand: summed over its own sites alone, charged to them alone, answered by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from groundswell.client.ledger import Ledger
from groundswell.client.policy import MenuEntry, SitePolicy
from groundswell.client.relay import app
from groundswell.client.vault import Identity, Vault
from groundswell.server import released_model
from groundswell.server.checkpointing import LeftOut, RunState
from groundswell.server.coordinator_planning import Workshop
from groundswell.server.planning import Federation, ModelFacts, make_plan, region_plan_terms, size
from groundswell.server.rounds import Outcome, Report, Run
from groundswell.server.transport import GridTransport
from groundswell.server.trends import ModelTrends
from groundswell.server.unmasking import SecureSum
from groundswell.shared.answering import ServedModel
from groundswell.shared.config_file import load_config
from groundswell.shared.demand_release import DemandBlock, DemandRelease
from groundswell.shared.demand_weights import covariance, weighed
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import GroundswellError, InputError, Refusal
from groundswell.shared.identity import sealed_plan
from groundswell.shared.plan import Phase, Plan
from groundswell.shared.questions import TrendsRequest
from groundswell.shared.roster import Advertisement, Head, terms_of
from groundswell.shared.scaling import decode
from groundswell.shared.served import serve_folder
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation import audit_data
from groundswell.simulation.grid import InProcessGrid
from groundswell.simulation.secure_sites import Consortium
from groundswell.simulation.setting import Setting
from groundswell.simulation.vaults import NoPace, SeededSource

SITES = tuple(f"site-{number:02d}" for number in range(1, 8))
NORTH, SOUTH = SITES[:4], SITES[4:]
REGIONS = {**dict.fromkeys(NORTH, "north"), **dict.fromkeys(SOUTH, "south")}
PHASE_SECONDS = 60.0


@dataclass
class Country:
    """Seven sites in two regions, each with its vault and ledger, and whoever asks them."""

    setting: Setting
    consortium: Consortium
    folder: Path
    ledgers: dict[str, Ledger]
    vaults: dict[str, Vault]
    seq: int = 1

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec.of(self.setting.config.model)

    def plan(self, region: str = "") -> Plan:
        """As the coordinator makes it, for all sites or for those of a region."""
        sites = [name for name in SITES if region in ("", REGIONS[name])]
        federation = Federation(sites, sum(self.setting.declared[name] for name in sites))
        config, sized = self.setting.config, size(self.setting.config, federation)
        if region:
            config, sized = region_plan_terms(config, region, federation, self.setting.federation)
        backbone, data = self.setting.backbone, self.setting.dataset
        initial = self.setting.initial_model(self.spec)
        facts = ModelFacts(backbone.name, backbone.hash, self.spec.to_dict(), initial)
        return make_plan(
            config, federation, sized, [data.catalogue], data.task, data.times, facts, region=region
        )

    def run(self, plan: Plan) -> tuple[Report, RunState]:
        """Ask all seven sites to take part."""
        terms = terms_of(plan)
        join = sealed_plan(plan.canonical_bytes(), self.consortium.coordinator)
        grid = InProcessGrid(app, {name: vault.handle for name, vault in self.vaults.items()})
        transport = GridTransport(grid, self.consortium.trust, plan, PHASE_SECONDS)
        sums = SecureSum(
            self.consortium.trust, terms, self.consortium.revocations(), first_seq=self.seq
        )
        start = RunState.begin(self.setting.initial_model(self.spec))
        around = self.setting.surroundings(bert=True)
        run = Run(plan, join, sums, transport, around, self.folder / plan.run, start)
        report = run.go()
        grid.close()
        self.seq = 2 + max(ledger.highest_seq for ledger in self.ledgers.values())
        return report, run.state

    def join(self, site: str, plan: Plan) -> str:
        """The code that a site refuses a plan with, or an empty text."""
        request = wire.VaultRequest(
            join=sealed_plan(plan.canonical_bytes(), self.consortium.coordinator)
        )
        return parse(wire.VaultReply, self.vaults[site].handle(serialise(request))).refused.code


def policy_for(plans: list[Plan], count: int) -> SitePolicy:
    """What pays for ``count`` releases of demand, at the least noise and n_min of the plans."""
    menu = MenuEntry(
        kind="demand",
        sigma_min=min(plan.releases[-1].noise_multiplier for plan in plans),
        q_max=1.0,
        count=count,
    )
    n_min = min(plan.n_min for plan in plans)
    return SitePolicy.for_plan(plans[0]).model_copy(
        update={"menu": (menu,), "n_min": n_min, "least_roster": n_min, "eps_c": 9, "eps_l": 99}
    )


@pytest.fixture(scope="module")
def make_country(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Country]]:
    chosen = {
        "model.statistics": ["demand"],
        "train.rounds": 0,
        "privacy.eps_l": 50.0,
    }
    config = load_config(None, chosen).config
    dataset = audit_data.invent(len(SITES), 6, np.random.default_rng(1))
    setting = Setting.build(config, dataset, 0)
    opened: list[Ledger] = []

    def make(releases: int) -> Country:
        folder = tmp_path_factory.mktemp("country")
        merchants = {name: name for name in SITES}
        consortium = Consortium.create(
            merchants,
            now=int(time.time()) - 60,
            declared=setting.declared,
            regions=REGIONS,
        )
        made = Country(setting, consortium, folder, {}, {})
        policy = policy_for([made.plan(), made.plan("north")], releases)
        for name in SITES:
            member = consortium.members[name]
            ledger = Ledger.create(folder / f"{name}.sqlite", member.key, name, policy)
            opened.append(ledger)
            made.ledgers[name] = ledger
            made.vaults[name] = Vault(
                Identity(member.key, member.certificate, consortium.trust),
                policy,
                ledger,
                setting.site_data(name),
                randomness=SeededSource(0, name),
                pace=NoPace(),
            )
        return made

    yield make
    for ledger in opened:
        ledger.close()


@pytest.fixture(scope="module")
def country(make_country: Callable[[int], Country]) -> Country:
    """Pays for two releases of demand."""
    return make_country(2)


@pytest.fixture(scope="module")
def released(country: Country) -> tuple[Plan, RunState, RunState]:
    """All sites' demand, then that of the north."""
    report, whole = country.run(country.plan())
    assert report.outcome is Outcome.FINISHED
    plan = country.plan("north")
    report, north = country.run(plan)
    assert report.outcome is Outcome.FINISHED
    return plan, whole, north


def test_only_the_sites_of_the_region_stand_in_its_sum(
    released: tuple[Plan, RunState, RunState],
) -> None:
    plan, whole, north = released
    assert whole.records[-1].survivors == SITES
    assert north.records[-1].survivors == NORTH
    assert (plan.region, plan.rounds, plan.n_min, plan.threshold) == ("north", 0, 3, 3)
    assert [release.kind for release in plan.releases] == ["demand"]


def test_both_releases_are_charged_to_whoever_took_part_in_them(
    country: Country, released: tuple[Plan, RunState, RunState]
) -> None:
    """No difference of sums is free: a site of the north paid twice, one of the south once."""
    spent = {name: ledger.spend() for name, ledger in country.ledgers.items()}
    assert [spent[name].events for name in SITES] == [2] * 4 + [1] * 3
    north, south = spent[NORTH[0]], spent[SOUTH[0]]
    assert north.central.epsilon > south.central.epsilon
    assert north.local.epsilon > south.local.epsilon


def test_a_release_that_the_menu_does_not_pay_for_is_refused(
    make_country: Callable[[int], Country],
) -> None:
    frugal = make_country(1)
    report, _ = frugal.run(frugal.plan())
    assert report.outcome is Outcome.FINISHED
    assert {frugal.join(name, frugal.plan("north")) for name in NORTH} == {"over-budget"}


def test_a_site_of_another_region_refuses_the_plan(country: Country) -> None:
    plan = country.plan("north")
    assert {country.join(name, plan) for name in SOUTH} == {"wrong-region"}


def test_a_site_of_another_region_is_kept_out_of_the_roster(country: Country) -> None:
    """By every other site, even where such a site and the coordinator agree to cheat."""
    terms, now = terms_of(country.plan("north")), int(time.time())

    def advertised(name: str) -> wire.Signed:
        masking = country.consortium.masking(name, terms)
        request = wire.AdvertiseRequest(run=terms.run, seq=1)
        reply = masking.advertise(request, head=Head(0, bytes(32)), highest_seq=0, now=now)
        return parse(wire.VaultReply, reply).advertised

    trust = country.consortium.trust
    assert Advertisement.read(advertised(NORTH[0]), trust, terms, 1, now).site == NORTH[0]
    with pytest.raises(Refusal, match="no site of north") as refused:
        Advertisement.read(advertised(SOUTH[0]), trust, terms, 1, now)
    assert refused.value.code == "wrong-region"


def test_the_noise_of_a_region_is_that_of_its_own_sites(
    country: Country, released: tuple[Plan, RunState, RunState]
) -> None:
    plan, _, north = released
    (release,) = plan.releases
    unit = release.clip_norm * release.noise_multiplier
    told = north.model.statistics["demand_noise"]
    summed = unit * len(NORTH) ** 0.5
    assert told == pytest.approx(covariance(summed), rel=0.02)
    exact = np.zeros(release.dimension)
    for name in NORTH:
        place = country.setting.site_data(name).workplace(plan)
        job = place.job(release, 1, ModelState(place.weights, {}))
        exact += decode(
            job.integer_sum(np.arange(job.users), bytes(32), None),
            release.clip_norm,
            release.scale,
        )
    noise = weighed(north.model.statistics["demand"].astype(np.float64)).ravel() - exact
    assert noise.std() == pytest.approx(summed, rel=0.15)
    assert (noise != 0).all()


def test_trends_of_the_region_are_answered_from_its_own_release(
    country: Country, released: tuple[Plan, RunState, RunState], tmp_path: Path
) -> None:
    plan, whole, north = released
    folder = model_with_region(country, plan, whole, north, tmp_path)
    served = serve_folder(folder)
    longer = lengthened(served)
    source = ModelTrends(lambda _: replace(served, demand=longer))
    answer = source.trends(TrendsRequest(region="north"))
    assert (answer.region, answer.sites) == ("north", 4)
    assert answer.trends[0].noise == tuple(longer[DemandBlock(region="north")].deviations)
    assert answer.privacy.central.epsilon == pytest.approx(
        north.records[-1].central_epsilon, abs=1e-6
    )
    assert "ledger" in (answer.privacy.central.note or "")
    assert answer.privacy != served.privacy
    everywhere = source.trends(TrendsRequest())
    assert (everywhere.region, everywhere.sites, everywhere.privacy) == (None, None, served.privacy)
    for question, code in (
        (TrendsRequest(region="south"), "unknown-region"),
        (TrendsRequest(region="north", action="search"), "unknown-action"),
    ):
        with pytest.raises(Refusal) as refused:
            source.trends(question)
        assert refused.value.code == code


def lengthened(served: ServedModel) -> dict[DemandBlock, DemandRelease]:
    """The releases with enough windows to learn trends from: the rehearsal's are fewer."""
    return {
        block: replace(
            each,
            values=np.full((len(served.labels), 26), 500.0),
            noise=covariance(20.0 if block.region else 5.0),
        )
        for block, each in served.demand.items()
    }


def model_with_region(
    country: Country, plan: Plan, whole: RunState, north: RunState, folder: Path
) -> Path:
    """What the coordinator writes: the model of all sites, with the region's demand beside it."""
    setting, data = country.setting, country.setting.dataset
    workshop = Workshop(setting.config, (data.catalogue,), setting.backbone, (setting.encoded,))
    first = country.plan().model_copy(update={"run": "0" * 32})
    (start,) = released_model.write(folder / "first", workshop, first, whole)
    assert start.regions == {}
    (written,) = released_model.write(folder / "second", workshop, plan, north, [start])
    assert written.privacy == start.privacy
    assert written.statistics_as_of == start.statistics_as_of
    np.testing.assert_array_equal(written.statistics["demand"], start.statistics["demand"])
    (again,) = released_model.write(folder / "second", workshop, plan, north, [written])
    assert again.hash == written.hash
    return folder / "second"


def test_a_region_without_its_demand_adds_nothing(
    country: Country, released: tuple[Plan, RunState, RunState], tmp_path: Path
) -> None:
    """An attempt that stayed void leaves the release out, and no other stands in for it."""
    plan, whole, _ = released
    setting, data = country.setting, country.setting.dataset
    workshop = Workshop(setting.config, (data.catalogue,), setting.backbone, (setting.encoded,))
    start = released_model.write(tmp_path / "first", workshop, country.plan(), whole)
    void = replace(whole, records=(), left_out=(LeftOut("demand", Phase.REFRESH),))
    with pytest.raises(GroundswellError, match="released no demand"):
        released_model.write(tmp_path / "second", workshop, plan, void, start)
    assert not (tmp_path / "second").exists()


def test_a_region_without_a_site_of_a_catalogue_changes_nothing_of_its_model(
    country: Country, released: tuple[Plan, RunState, RunState], tmp_path: Path
) -> None:
    plan, whole, north = released
    setting, data = country.setting, country.setting.dataset
    workshop = Workshop(setting.config, (data.catalogue,), setting.backbone, (setting.encoded,))
    start = released_model.write(tmp_path / "first", workshop, country.plan(), whole)
    (with_north,) = released_model.write(tmp_path / "second", workshop, plan, north, start)
    nothing = replace(north, model=replace(north.model, statistics={}))
    (kept,) = released_model.write(tmp_path / "third", workshop, plan, nothing, [with_north])
    assert kept.hash == with_north.hash
    assert kept.regions == with_north.regions


def test_demand_that_a_later_run_does_not_release_anew_does_not_take_on_its_date(
    country: Country, released: tuple[Plan, RunState, RunState], tmp_path: Path
) -> None:
    """A run begins without the demand of the model before it; a region's has its own date."""
    setting, data = country.setting, country.setting.dataset
    workshop = Workshop(setting.config, (data.catalogue,), setting.backbone, (setting.encoded,))
    _, whole, _ = released
    everybody = country.plan()
    (before,) = released_model.write(tmp_path / "before", workshop, everybody, whole)
    before = replace(
        before, statistics={**before.statistics, "demand@north": np.ones((2, 2), np.float32)}
    )
    assert {"demand", "demand_noise"} <= set(before.statistics)
    start = workshop.initial_state(everybody, [before])
    assert set(start.statistics) == {"demand@north"}


@pytest.mark.parametrize(
    "merchants", [["a", "b"], ["a", "a", "a", "b"]], ids=["two sites", "three of one merchant"]
)
def test_too_few_sites_for_a_roster_are_refused_before_any_plan(
    country: Country, merchants: list[str]
) -> None:
    few = Federation(merchants, 1000)
    with pytest.raises(Refusal) as refused:
        region_plan_terms(country.setting.config, "islands", few, country.setting.federation)
    assert refused.value.code == "region-too-small"


def test_a_region_costs_what_demand_costs_in_a_whole_run() -> None:
    config = load_config(None, {"model.statistics": ["popularity", "h5", "demand"]}).config
    federation = Federation(["a", "b", "c", "d"], 4000)
    everyone = Federation([*federation.merchants, "e", "f"], 500_000)
    alone, sized = region_plan_terms(config, "north", federation, everyone)
    assert alone.privacy.delta == sized.delta == 1 / 5_000_000
    fixed = load_config(
        None, {"model.statistics": ["popularity", "h5", "demand"], "privacy.delta": sized.delta}
    ).config
    whole = size(fixed, federation)
    assert alone.train.rounds == 0
    assert [entry.kind for entry in sized.kinds] == ["demand"]
    assert sized.kind("demand").noise_multiplier == whole.kind("demand").noise_multiplier
    assert 0 < sized.eps_c < whole.eps_c
    with pytest.raises(InputError, match="no demand is released"):
        region_plan_terms(load_config(None, {}).config, "north", federation, everyone)


def test_a_plan_for_a_region_may_release_nothing_else(country: Country) -> None:
    plan = country.plan()
    values = plan.model_dump(mode="json")
    assert "region" not in values
    Plan.model_validate({**values, "region": "north"})
    other = {**values["releases"][0], "kind": "popularity"}
    for wrong in ({"releases": [other]}, {"rounds": 1}):
        with pytest.raises(ValidationError, match="demand alone"):
            Plan.model_validate({**values, "region": "north", **wrong})
