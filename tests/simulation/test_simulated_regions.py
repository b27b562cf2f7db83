"""A simulation releases demand by region as a deployment does, and charges each release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from groundswell.cli import main
from groundswell.client.ledger import verify
from groundswell.client.ledger_report import report
from groundswell.server.gateway.federation import FinishedRun
from groundswell.server.rounds import Outcome, Report, Watch
from groundswell.shared.config_file import load_config
from groundswell.shared.demand_release import Float64
from groundswell.shared.demand_weights import covariance, weighed
from groundswell.shared.errors import InputError
from groundswell.shared.histories import Float32
from groundswell.shared.plan import Plan
from groundswell.shared.results import Results
from groundswell.shared.scaling import decode
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation import audit_data, regions
from groundswell.simulation.federated import run_in_process
from groundswell.simulation.federation import simulate
from groundswell.simulation.promise import privacy_of
from groundswell.simulation.regions import Region, Released
from groundswell.simulation.running import Options
from groundswell.simulation.setting import Setting
from groundswell.simulation.vaults import Agreed, ledger_path

SITES = tuple(f"site-{number:02d}" for number in range(1, 8))
NORTH = SITES[:4]
QUIET = Watch()


def run_id(name: str) -> str:
    return name.encode().hex().rjust(32, "0")[-32:]


def finished(report: Report) -> None:
    assert report.outcome is Outcome.FINISHED


@pytest.fixture(scope="module")
def setting() -> Setting:
    chosen = {"model.statistics": ["demand"], "train.rounds": 0, "privacy.eps_l": 50.0}
    dataset = audit_data.invent(len(SITES), 6, np.random.default_rng(1))
    return Setting.build(load_config(None, chosen).config, dataset, 0)


@dataclass
class Done:
    """All sites' demand, and then that of the north, in one folder."""

    folder: Path
    plan: Plan
    north: Region
    agreed: Agreed
    everywhere: Mapping[str, Float32]
    released: Released


@pytest.fixture(scope="module")
def done(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("simulated")
    plan = setting.plan(setting.config, ModelSpec.of(setting.config.model), run=run_id("all"))
    (north,) = regions.planned(setting, {"north": NORTH}, run_id)
    agreed = regions.agreed(plan, [north])
    with run_in_process(setting, plan, folder, seed=0, watch=QUIET, agreed=agreed) as running:
        finished(running.report)
        everywhere = dict(running.model.statistics)
    released = regions.release(
        north, folder, agreed, seed=0, noisy=True, resume=False, watch=QUIET, ended=finished
    )
    return Done(folder, plan, north, agreed, everywhere, released)


def noise_of(released: Float32, setting: Setting, plan: Plan, sites: Sequence[str]) -> Float64:
    """What stands in a release, as it was summed, beside its sites' exact sum."""
    (release,) = plan.releases
    exact = np.zeros(release.dimension)
    for name in sites:
        place = setting.site_data(name).workplace(plan)
        job = place.job(release, 1, ModelState(place.weights, {}))
        total = job.integer_sum(np.arange(job.users), bytes(32), None)
        exact += decode(total, release.clip_norm, release.scale)
    found: Float64 = weighed(released.astype(np.float64)).ravel() - exact
    return found


def test_the_release_is_the_regions_own(done: Done) -> None:
    assert (done.north.plan.region, done.north.plan.n_min) == ("north", 3)
    assert done.released.release.sites == len(NORTH)
    assert set(done.released.tensors) == {"demand@north", "demand_noise@north"}
    (release,) = done.north.plan.releases
    summed = release.clip_norm * release.noise_multiplier * len(NORTH) ** 0.5
    told = done.released.tensors["demand_noise@north"]
    assert told == pytest.approx(covariance(summed), rel=0.02)


def test_its_noise_is_drawn_anew(setting: Setting, done: Done) -> None:
    """Same seed, sites, kind and round; were the noise the same, a difference would show sums."""
    first = noise_of(done.everywhere["demand"], setting, done.plan, SITES)
    own = done.released.tensors["demand@north"]
    second = noise_of(own, setting, done.north.plan, NORTH)
    (release,) = done.north.plan.releases
    summed = release.clip_norm * release.noise_multiplier * len(NORTH) ** 0.5
    assert second.std() == pytest.approx(summed, rel=0.2)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.35


def test_every_release_stands_in_the_ledgers_of_who_took_part(setting: Setting, done: Done) -> None:
    with ExitStack() as stack:
        ledgers = regions.ledgers(stack, setting, done.plan, done.folder, done.agreed)
        spent = {name: ledger.spend() for name, ledger in ledgers.items()}
        privacy = privacy_of(done.plan, ledgers.values(), ())
    assert [spent[name].events for name in SITES] == [2] * 4 + [1] * 3
    own = done.released.release.privacy
    assert privacy.central.epsilon == max(each.central.epsilon for each in spent.values())
    assert privacy.central.epsilon > own["central"]["epsilon"] > 0
    assert privacy.local.epsilon is not None
    assert privacy.local.epsilon > own["local"]["epsilon"] > 0
    assert (own["private"], own["seeded"]) == (True, True)
    for name in SITES:
        assert verify(ledger_path(done.folder, name)).problems == ()


def test_a_policy_pays_for_the_region_beside_the_run(done: Done) -> None:
    policy = done.agreed.policies[NORTH[0]]
    assert policy.n_min == done.plan.n_min > done.north.plan.n_min
    assert policy.menu[-1].n_min == done.north.plan.n_min
    assert set(done.agreed.policies) == set(NORTH)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"north": SITES[:2]}, "needs 3 and 2"),
        ({"north": ("site-01", "site-99", "site-02")}, "no such site"),
        ({"North": NORTH}, "no name that a certificate may carry"),
        ({"north": NORTH, "south": SITES[3:]}, "is of north already"),
        ({"north": ("site-01", "site-01", "site-02")}, "is of north already"),
    ],
)
def test_a_region_that_can_have_no_release_is_refused(
    setting: Setting, wanted: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        regions.planned(setting, wanted, run_id)
    assert refused.value.key == "--region"


@pytest.mark.parametrize("text", ["north", "north=", "=site-01"])
def test_a_region_without_name_or_sites_is_one_line_and_exit_code_2(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["simulate", "--region", text])
    assert left.value.code == 2
    assert "a region is named once, with its sites" in capsys.readouterr().err


def test_a_simulation_with_a_region_leaves_its_demand_and_its_price(tmp_path: Path) -> None:
    rows = [
        {
            "user": f"u{user:02d}",
            "time": datetime(2025, 1, 6, 9, tzinfo=UTC) + timedelta(days=7 * week + user % 7),
            "label": ("tea", "jam", "soap")[(user + week) % 3],
        }
        for user in range(40)
        for week in range(10)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "events.parquet")
    (tmp_path / "groundswell.toml").write_text(
        '[data]\nevents = "events.parquet"\ncolumns = {label = "label"}\n[sites]\nnumber = 4\n'
        '[model]\nstatistics = ["popularity", "demand"]\n[train]\nrounds = 1\nevaluations = 0\n'
    )
    north = ("site-01", "site-02", "site-04")
    options = Options(tmp_path / "out", regions={"north": north})
    results = simulate(tmp_path / "groundswell.toml", options)
    own = results.regions["north"]
    assert own.sites == 3
    assert own.privacy.central.epsilon is not None
    assert results.privacy.central.epsilon is not None
    assert 0 < own.privacy.central.epsilon < results.privacy.central.epsilon
    assert Results.read(options.out / "results.json") == results
    manifest = json.loads((options.out / "model" / "manifest.json").read_text())
    assert "demand@north" in load_file(options.out / "model" / "statistics.safetensors")
    assert "north" in json.dumps(manifest["regions"])
    heads = json.loads((options.out / "heads.json").read_text())
    rows_of = {name: head["row"] for name, head in heads.items()}
    assert {rows_of[name] for name in north} == {rows_of["site-03"] + 3}
    # The dashboard tells each site's own figures: those outside the region spent less, of less.
    shown = {site.name: site for site in FinishedRun(options.out).health().sites}
    assert sorted(shown) == ["site-01", "site-02", "site-03", "site-04"]
    for name, site in shown.items():
        ledger = report(verify(ledger_path(options.out, name)))
        assert ledger.last is not None
        assert site.local is not None
        assert site.central is not None
        assert (site.local.used, site.local.cap) == (ledger.window.local.epsilon, ledger.last.eps_l)
        told = (ledger.window.central.epsilon, ledger.last.eps_c)
        assert (site.central.used, site.central.cap) == told
    outside, inside = shown["site-03"].local, shown["site-01"].local
    assert outside is not None
    assert inside is not None
    assert outside.used < inside.used
