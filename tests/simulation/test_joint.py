"""Sites of two catalogues learn one model: what is shared, and what each keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from groundswell.client.contributions import Workplace
from groundswell.client.ledger import Ledger
from groundswell.client.vault import Vault, refused
from groundswell.server import released_model
from groundswell.server.checkpointing import LeftOut
from groundswell.server.coordinator_planning import Workshop
from groundswell.server.registry import Registry
from groundswell.server.rounds import Outcome, Watch
from groundswell.server.run_folder import RunFolder
from groundswell.server.schedule import Step
from groundswell.server.unmasking import SecureTotal
from groundswell.shared.blocks import check_together, own_block, own_statistics
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import load
from groundswell.shared.config import Config
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.plan import Phase, Plan
from groundswell.shared.spec import ModelSpec
from groundswell.shared.statistics import STATISTICS
from groundswell.simulation import audit_data
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.federated import Federated, run_in_process
from groundswell.simulation.joint import JointSetting
from groundswell.simulation.setting import Setting
from groundswell.simulation.vaults import VaultRecipe

SEVEN = audit_data.GOODS[:7]
USERS = 12


def pet_shop(generator: np.random.Generator) -> Dataset:
    """Three sites whose catalogue has seven labels of its own."""
    invented = audit_data.invent(3, USERS, generator)
    table = pl.DataFrame({"label": [f"pet {name}" for name in SEVEN]})
    sites = {
        f"pets-{number}": frame.filter(pl.col("label").is_in(SEVEN)).with_columns(
            label="pet " + pl.col("label"), site=pl.lit(f"pets-{number}")
        )
        for number, frame in enumerate(invented.sites.values())
    }
    catalogue = Catalogue.from_table(table, name="pets", label="label")
    return replace(invented, name="pets", sites=sites, catalogue=catalogue)


@pytest.fixture(scope="module")
def config() -> Config:
    chosen = {
        "privacy.eps_c": 40.0,
        "privacy.eps_l": 200.0,
        "train.rounds": 2,
        "train.evaluations": 0,
    }
    return load_config(None, chosen).config


@pytest.fixture(scope="module")
def joint(config: Config) -> JointSetting:
    draw = np.random.default_rng(5)
    parts = [audit_data.invent(3, USERS, draw), pet_shop(draw)]
    return JointSetting(tuple(Setting.build(config, part, 0) for part in parts))


@pytest.fixture(scope="module")
def plan(joint: JointSetting, config: Config) -> Plan:
    return joint.plan(config, ModelSpec(), run="ab" * 16)


@pytest.fixture(scope="module")
def running(
    joint: JointSetting, plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Federated]:
    folder: Path = tmp_path_factory.mktemp("joint")
    with run_in_process(joint, plan, folder, seed=0, noisy=False) as running:
        yield running


def test_sites_of_two_catalogues_finish_one_run_with_all_of_them_in_every_sum(
    joint: JointSetting, running: Federated
) -> None:
    assert running.report.outcome is Outcome.FINISHED
    assert all(record.survivors == joint.names for record in running.state.records)


def test_each_catalogue_gets_the_statistics_of_its_own_users(
    joint: JointSetting, plan: Plan, running: Federated, config: Config, tmp_path: Path
) -> None:
    """Without noise they are those of a run of its own sites alone, up to rounding."""
    for number, part in enumerate(joint.parts):
        found = own_statistics(running.model.statistics, plan.catalogues, number)
        assert found["popularity"].shape == (len(part.dataset.catalogue),)
        alone = part.plan(config, ModelSpec(), run="cd" * 16)
        with run_in_process(part, alone, tmp_path / str(number), seed=0, noisy=False) as other:
            expected = other.model.statistics
        mean = found["popularity_mean"]
        assert mean.std() > 0.02
        np.testing.assert_allclose(mean, expected["popularity_mean"], atol=2e-3)


def test_a_user_moves_the_block_of_the_own_catalogue_alone(
    joint: JointSetting, plan: Plan, running: Federated
) -> None:
    release = plan.release("popularity")
    assert release is not None
    whole = range(release.dimension)
    for number, part in enumerate(joint.parts):
        place = own_block(STATISTICS["popularity"], plan.catalogues, number)
        workplace = Workplace(part.site_data(part.names[0]), plan)
        job = workplace.job(release, 0, running.model)
        total = job.integer_sum(np.arange(USERS), b"secret", None)
        assert (total[place] != 0).any()
        outside = np.setdiff1d(whole, whole[place])
        assert len(outside)
        assert not total[outside].any()


def test_every_site_adds_its_noise_to_the_blocks_of_all_catalogues(
    joint: JointSetting, plan: Plan, tmp_path: Path
) -> None:
    release = plan.release("h5")
    assert release is not None
    sums = []
    for noisy in (True, False):
        heard: dict[str, NDArray[np.int64]] = {}

        def summed(step: Step, total: SecureTotal, heard: Any = heard) -> None:
            heard.setdefault(step.kind, total.total)

        watch = Watch(summed=summed)
        folder = tmp_path / str(noisy)
        with run_in_process(joint, plan, folder, seed=0, noisy=noisy, watch=watch) as found:
            assert found.report.outcome is Outcome.FINISHED
        sums.append(heard["h5"])
    noise = (sums[0] - sums[1]) / release.standard_deviation
    for number in range(2):
        own = noise[own_block(STATISTICS["h5"], plan.catalogues, number)]
        assert own.std() == pytest.approx(len(joint.names) ** 0.5, rel=0.3)


def test_adapter_and_head_are_everybodys(
    joint: JointSetting, plan: Plan, running: Federated
) -> None:
    """Both catalogues' users are scored by the same weights, each over their own labels."""
    before = joint.initial_model(ModelSpec()).weights
    assert any((running.model.weights[name] != before[name]).any() for name in before)
    assert [len(each.catalogue) for each in joint.workplaces(plan)] == [10, 7]


@pytest.fixture(scope="module")
def workshop(joint: JointSetting, config: Config) -> Workshop:
    catalogues = tuple(part.dataset.catalogue for part in joint.parts)
    return Workshop(config, catalogues, joint.backbone, tuple(p.encoded for p in joint.parts))


def test_a_run_leaves_a_model_and_a_line_of_versions_for_each_catalogue(
    joint: JointSetting, workshop: Workshop, plan: Plan, running: Federated, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    written = released_model.write(run.model_folder, workshop, plan, running.state)
    assert [path.name for path in released_model.folders(run.model_folder)] == ["pets", "rehearsal"]
    goods, pets = (load(run.model_folder / each.catalogue.name, joint.backbone) for each in written)
    assert (goods.hash, pets.hash) == tuple(each.hash for each in written)
    assert all((goods.weights[name] == pets.weights[name]).all() for name in goods.weights)
    assert (len(goods.statistics["popularity"]), len(pets.statistics["popularity"])) == (10, 7)
    versions = released_model.register(tmp_path / "registry", run, plan, running.state)
    registry = Registry.open(str(tmp_path / "registry"))
    assert registry.show("champion@pets").version == versions[0]
    assert registry.show("champion@pets").labels == 7
    assert registry.show("champion@rehearsal").labels == 10


def test_a_refresh_keeps_the_weights_and_each_catalogues_statistics(
    joint: JointSetting, workshop: Workshop, plan: Plan, running: Federated, tmp_path: Path
) -> None:
    before = released_model.write(tmp_path / "first", workshop, plan, running.state)
    state = workshop.initial_state(plan, before)
    assert state.statistics.keys() == running.model.statistics.keys()
    refresh = plan.model_copy(update={"rounds": 0, "run": "ef" * 16})
    again = released_model.write(tmp_path / "second", workshop, refresh, running.state, before)
    for old, new in zip(before, again, strict=True):
        assert new.catalogue == old.catalogue
        assert all((new.weights[name] == old.weights[name]).all() for name in old.weights)


def test_models_of_two_runs_are_no_beginning(
    workshop: Workshop, plan: Plan, running: Federated, tmp_path: Path
) -> None:
    goods, pets = released_model.write(tmp_path / "model", workshop, plan, running.state)
    bias = pets.weights["head.bias"] + np.float32(1)
    other = replace(pets, weights={**pets.weights, "head.bias": bias})
    with pytest.raises(InputError, match="different runs"):
        workshop.initial_state(plan, [goods, other])


def test_a_site_of_a_third_catalogue_refuses_the_plan(joint: JointSetting, plan: Plan) -> None:
    data = joint.parts[1].site_data("pets-0")
    table = pl.DataFrame({"label": [f"garden {name}" for name in SEVEN]})
    other = replace(data, catalogue=Catalogue.from_table(table, name="pets", label="label"))
    with pytest.raises(Refusal, match="unknown-catalogue"):
        Workplace(other, plan)


def test_sites_of_one_name_in_two_parts_are_an_error(joint: JointSetting) -> None:
    other = replace(joint.parts[0].dataset.catalogue, name="other", groups=("x",) * 10)
    same = replace(joint.parts[0], dataset=replace(joint.parts[0].dataset, catalogue=other))
    with pytest.raises(InputError, match="share this name"):
        JointSetting((joint.parts[0], same))


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "目录"])
def test_a_catalogue_that_can_not_name_a_folder_stands_in_no_plan_of_several(
    joint: JointSetting, name: str
) -> None:
    odd = replace(joint.parts[1].dataset.catalogue, name=name)
    with pytest.raises(InputError, match="letters, digits"):
        check_together("[catalogue].file", [joint.parts[0].dataset.catalogue, odd])


class Away(Vault):
    """A site that never answers anything but a refusal."""

    def handle(self, data: bytes) -> bytes:
        return refused("away")


def test_a_catalogue_whose_sites_are_all_away_is_told_and_gets_no_model(
    config: Config, tmp_path: Path
) -> None:
    draw = np.random.default_rng(6)
    shops, pets = audit_data.invent(5, USERS, draw), pet_shop(draw)
    single = replace(pets, sites={"pets-0": pets.sites["pets-0"]})
    joint = JointSetting((Setting.build(config, shops, 0, 6), Setting.build(config, single, 0, 6)))
    plan = joint.plan(config, ModelSpec(), run="12" * 16)

    def opened(recipe: VaultRecipe, ledger: Ledger) -> Vault:
        make = Away if recipe.site == "pets-0" else Vault
        return recipe.vault(ledger, recipe.data(joint.backbone), make)

    with run_in_process(
        joint, plan, tmp_path / "run", seed=0, noisy=False, open_vault=opened
    ) as running:
        assert running.report.outcome is Outcome.FINISHED
        state = running.state
    told = {str(each) for each in state.left_out}
    assert {"popularity of pets (statistics)", "popularity of pets (refresh)"} <= told
    assert not any("rehearsal" in each for each in told)
    catalogues = tuple(part.dataset.catalogue for part in joint.parts)
    encoded = tuple(part.encoded for part in joint.parts)
    workshop = Workshop(config, catalogues, joint.backbone, encoded)
    released_model.write(tmp_path / "model", workshop, plan, state)
    assert [path.name for path in released_model.folders(tmp_path / "model")] == ["rehearsal"]
    card = (tmp_path / "model" / "rehearsal" / "README.md").read_text()
    assert "Left out: popularity of pets (statistics)" in card


def test_statistics_that_a_refresh_missed_keep_their_date(
    workshop: Workshop, plan: Plan, running: Federated, tmp_path: Path
) -> None:
    kinds = [each.kind for each in plan.releases if Phase.REFRESH in each.phases]
    left_out = tuple(LeftOut(kind, Phase.REFRESH, "pets") for kind in kinds)
    missed = replace(running.state, left_out=left_out)
    goods, pets = released_model.write(tmp_path / "model", workshop, plan, missed)
    assert goods.statistics_as_of == plan.schedule.train_until
    assert pets.statistics_as_of == plan.schedule.stats_until


@pytest.mark.parametrize("catalogue", ["", "pets"], ids=["of all", "of one catalogue"])
def test_statistics_without_one_that_a_refresh_missed_have_the_date_of_the_newest(
    workshop: Workshop, plan: Plan, running: Federated, tmp_path: Path, catalogue: str
) -> None:
    """A forecast from before it is warned of, and a released demand ends there."""
    left_out = (LeftOut("popularity", Phase.REFRESH, catalogue),)
    missed = replace(running.state, left_out=left_out)
    _, pets = released_model.write(tmp_path / "model", workshop, plan, missed)
    assert pets.statistics_as_of == plan.schedule.train_until


def test_statistics_that_a_refresh_missed_as_a_whole_keep_the_date_of_their_model(
    workshop: Workshop, plan: Plan, running: Federated, tmp_path: Path
) -> None:
    whole = released_model.write(tmp_path / "first", workshop, plan, running.state)
    start = [replace(each, statistics_as_of=7) for each in whole]
    releases = [r.model_copy(update={"phases": (Phase.REFRESH,)}) for r in plan.releases]
    refresh = plan.model_copy(update={"rounds": 0, "releases": tuple(releases)})
    left_out = tuple(LeftOut(each.kind, Phase.REFRESH) for each in releases)
    missed = replace(running.state, left_out=left_out)
    again = released_model.write(tmp_path / "second", workshop, refresh, missed, start)
    assert [each.statistics_as_of for each in again] == [7, 7]


def test_a_plan_whose_catalogues_can_not_be_told_apart_is_no_plan(plan: Plan) -> None:
    first = plan.catalogues[0].model_dump()
    for name in ("pets", "", "a/b"):
        changed = plan.model_dump()
        changed["catalogues"] = [{**first, "name": name}, plan.catalogues[1].model_dump()]
        with pytest.raises(ValueError, match="catalogue"):
            Plan.model_validate(changed)
