"""A run without rounds refreshes the statistics at the noise that a site's policy pays for."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.client.policy import SitePolicy
from groundswell.server.planning import Federation, ModelFacts, make_plan, size, size_refresh
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.config import Config
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.inputs import task_from
from groundswell.shared.plan import Phase, Plan
from groundswell.shared.sizing import SizedPlan
from groundswell.shared.task import held_back
from groundswell.shared.transfer import ModelState

FEDERATION = Federation([f"site-{number}" for number in range(8)], 8000)
ROUNDS = 4
USED = {"popularity": 2, "h5": 2, "pairs": 2, "gradient": ROUNDS, "evaluation": 1}


def config_of(**chosen: object) -> Config:
    return load_config(None, {"train.rounds": ROUNDS, **chosen}).config


def plan_of(config: Config, sized: SizedPlan) -> Plan:
    labels = ("COFFEE", "TEA", "SOUP")
    catalogue = Catalogue("shop", labels, labels, ("",) * 3, np.ones(3, np.float32), {})
    task = task_from(config)
    times = held_back(task, 17_260 * 86_400 * 10**6, 17_600 * 86_400 * 10**6, validation=2, test=0)
    initial = ModelState({"head": np.zeros(4, np.float32)}, {})
    facts = ModelFacts("backbone", "b0" * 32, {}, initial)
    return make_plan(config, FEDERATION, sized, [catalogue], task, times, facts)


def whole(config: Config) -> Plan:
    return plan_of(config, size(config, FEDERATION))


def refresh(config: Config) -> Plan:
    """As ``coordinator train --rounds 0`` makes it."""
    train = config.train.model_copy(update={"rounds": 0})
    without = config.model_copy(update={"train": train})
    return plan_of(without, size_refresh(without, FEDERATION, ROUNDS))


def test_a_refresh_has_the_noise_of_the_whole_run_and_fits_its_policy() -> None:
    config = config_of()
    plan, again = whole(config), refresh(config)
    assert [each.kind for each in again.releases] == ["popularity", "h5", "pairs"]
    for release in again.releases:
        own = plan.release(release.kind)
        assert own is not None
        assert release.noise_multiplier == own.noise_multiplier
        assert (release.count, release.phases) == (1, (Phase.REFRESH,))
    SitePolicy.for_plan(plan).accept_plan(again)
    SitePolicy.for_plan(plan, runs=2).accept_plan(again, used=USED)


def test_a_policy_that_pays_for_one_run_pays_for_no_refresh_after_it() -> None:
    config = config_of()
    with pytest.raises(Refusal, match="over-budget: 1 events of the kind popularity"):
        SitePolicy.for_plan(whole(config)).accept_plan(refresh(config), used=USED)


def test_refreshes_that_the_plan_foresees_are_within_the_caps_and_in_the_policy() -> None:
    config = config_of(**{"train.refreshes": 3})
    plan, again = whole(config), refresh(config)
    assert plan.later_refreshes == 2
    assert again.later_refreshes == 0
    popularity = plan.release("popularity")
    assert popularity is not None
    assert popularity.count == 2  # the run's own: before its rounds and after them
    policy = SitePolicy.for_plan(plan)
    price = policy.check_menu()
    assert (policy.eps_c, policy.eps_l) == (3.0, 8.0)
    assert price.eps_c <= 3.0
    assert price.eps_l <= 8.0
    for made in range(2):
        used = {**USED, **dict.fromkeys(("popularity", "h5", "pairs"), 2 + made)}
        policy.accept_plan(again, used=used)
    with pytest.raises(Refusal, match="over-budget"):
        policy.accept_plan(again, used={**USED, "popularity": 4})


def test_a_plan_without_later_refreshes_keeps_its_hash() -> None:
    config = config_of()
    plan = whole(config)
    assert b"later_refreshes" not in plan.canonical_bytes()
    assert b"later_refreshes" in whole(config_of(**{"train.refreshes": 2})).canonical_bytes()


def test_a_refresh_of_no_statistics_is_refused() -> None:
    with pytest.raises(InputError, match="no statistics to refresh"):
        size_refresh(config_of(**{"model.statistics": []}), FEDERATION, ROUNDS)
