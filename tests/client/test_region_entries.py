"""A menu entry with an n_min of its own: how a site agrees to the release of its region."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger import Ledger, verify
from groundswell.client.policy import SitePolicy
from groundswell.shared.accounting import central_multiplier, reported_epsilon
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.scaling import scale

NORTH = ("site-1", "site-2", "site-3", "site-4")
SIGMA = 2.5


@pytest.fixture(scope="module")
def region(plan: Plan) -> Plan:
    """A region of four sites releases its popularity alone, at the noise of four sites."""
    popularity = release_of(plan).model_copy(
        update={
            "noise_multiplier": SIGMA,
            "scale": scale(SIGMA, release_of(plan).max_nonzero),
            "count": 1,
            "phases": release_of(plan).phases[1:],
        }
    )
    update = {
        "run": "cd" * 16,
        "region": "north",
        "n_min": 3,
        "rounds": 0,
        "releases": (popularity,),
    }
    return plan.model_copy(update=update)


@pytest.fixture
def agreed(region: Plan, policy: SitePolicy) -> SitePolicy:
    return policy.paying_for(region)


@pytest.fixture
def ledger(tmp_path: Path, key: SigningKey, agreed: SitePolicy) -> Iterator[Ledger]:
    ledger = Ledger.create(tmp_path / "ledger.sqlite", key, "site-1", agreed)
    yield ledger
    ledger.close()


def release_of(plan: Plan) -> PlannedRelease:
    release = plan.release("popularity")
    assert release is not None
    return release


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        act()
    return refused.value.code


def in_region(admission: Admission) -> Admission:
    """The same, with the four sites of the region as its roster."""
    return replace(admission, sharers=NORTH, honest=3)


def test_a_default_policy_tells_how_to_agree_to_a_region(region: Plan, policy: SitePolicy) -> None:
    with pytest.raises(Refusal) as refused:
        policy.accept_plan(region)
    assert refused.value.code == "n-min-too-small"
    for told in (
        "[policy].n_min: 6",
        "3 survivors of the sites of north (2 honest)",
        'kind = "popularity", sigma_min = 2.5, q_max = 1, count = 1, n_min = 3',
        "[[policy.menu]]",
        "eps_C",
        "eps_L",
    ):
        assert told in refused.value.rule


def test_the_entry_pays_for_the_region_and_leaves_what_all_else_needs(
    plan: Plan, region: Plan, agreed: SitePolicy
) -> None:
    assert (agreed.n_min, agreed.least_roster) == (6, 6)
    agreed.accept_plan(plan)
    agreed.accept_plan(region)
    fewer = plan.model_copy(update={"n_min": 5, "releases": plan.releases[1:]})
    assert code_of(lambda: agreed.accept_plan(fewer)) == "n-min-too-small"
    two = region.model_copy(update={"n_min": 2})
    assert code_of(lambda: agreed.accept_plan(two)) == "n-min-too-small"
    one_honest = region.model_copy(update={"colluders": 2})
    assert code_of(lambda: agreed.accept_plan(one_honest)) == "n-min-too-small"


def test_the_entry_of_a_region_pays_for_no_sites_of_the_coordinators_choosing(
    plan: Plan, region: Plan, agreed: SitePolicy
) -> None:
    """Whose sites a region's are stands in certificates; any other plan needs the usual n_min."""
    anyone = region.model_copy(update={"region": ""})
    with pytest.raises(Refusal, match="lower n_min to agree") as refused:
        agreed.accept_plan(anyone)
    assert refused.value.code == "n-min-too-small"
    more_colluders = plan.model_copy(update={"colluders": 2, "eps_c": 9.0})
    assert code_of(lambda: agreed.accept_plan(more_colluders)) == "n-min-too-small"


def test_what_a_region_used_leaves_the_rest_of_the_menu_as_it_was(
    plan: Plan, region: Plan, agreed: SitePolicy
) -> None:
    own = agreed.menu[-1].account
    agreed.accept_plan(plan, used={own: 1})
    assert code_of(lambda: agreed.accept_plan(region, used={own: 1})) == "over-budget"
    agreed.accept_plan(region, used={"popularity": 2})
    assert code_of(lambda: agreed.accept_plan(plan, used={"popularity": 1})) == "over-budget"


def test_the_entry_is_priced_at_its_own_n_min(
    region: Plan, policy: SitePolicy, agreed: SitePolicy
) -> None:
    price = agreed.price()
    assert (agreed.eps_c, agreed.eps_l) == (max(3.0, price.eps_c), max(8.0, price.eps_l))
    at_six = agreed.model_copy(
        update={"menu": tuple(each.model_copy(update={"n_min": None}) for each in agreed.menu)}
    )
    assert policy.price().eps_c < at_six.price().eps_c < price.eps_c
    assert at_six.price().eps_l == price.eps_l
    tight = agreed.model_copy(update={"eps_c": policy.eps_c})
    with pytest.raises(Refusal, match="over-budget: the menu as a whole"):
        tight.accept_plan(region)


def test_the_entry_counts_on_an_honest_site_at_least(policy: SitePolicy) -> None:
    entry = policy.menu[0].model_dump() | {"n_min": 2}
    values = policy.model_dump() | {"colluders": 2, "menu": [entry]}
    with pytest.raises(ValueError, match="n_min of a menu entry"):
        SitePolicy.model_validate(values)


def test_both_releases_are_charged_each_at_its_own_n_min(
    plan: Plan, region: Plan, ledger: Ledger, admit: Callable[..., Admission]
) -> None:
    ledger.reserve(plan, release_of(plan), admit(1, "popularity"))
    ledger.reserve(region, release_of(region), in_region(admit(2, "popularity")))
    sigma = release_of(plan).noise_multiplier
    central = [(central_multiplier(sigma, 5), 1.0, 1), (central_multiplier(SIGMA, 2), 1.0, 1)]
    spent = ledger.spend()
    assert spent.reserved.epsilon == pytest.approx(reported_epsilon(central, 1e-6), rel=1e-6)
    assert spent.local.epsilon == reported_epsilon([(sigma, 1.0, 1), (SIGMA, 1.0, 1)], 1e-6)
    assert ledger.used() == {"popularity": 1, "popularity (n_min 3)": 1}
    again = in_region(admit(3, "popularity"))
    other = region.model_copy(update={"run": "ef" * 16})
    assert code_of(lambda: ledger.reserve(other, release_of(other), again)) == "over-budget"
    ledger.reserve(plan, release_of(plan), admit(4, "popularity"))


def test_the_rows_of_such_a_ledger_verify(
    region: Plan,
    plan: Plan,
    ledger: Ledger,
    tmp_path: Path,
    admit: Callable[..., Admission],
    unmask: Callable[..., Unmasking],
) -> None:
    ledger.reserve(region, release_of(region), in_region(admit(1, "popularity")))
    ledger.sent(1)
    ledger.closed(replace(unmask(1), survivors=NORTH, honest=3, confirmations=()))
    ledger.reserve(plan, release_of(plan), admit(2, "popularity"))
    assert verify(tmp_path / "ledger.sqlite").problems == ()


def test_a_roster_below_the_entrys_n_min_is_refused(
    plan: Plan, region: Plan, ledger: Ledger, admit: Callable[..., Admission]
) -> None:
    two = replace(admit(1, "popularity"), sharers=NORTH[:2], honest=2)
    assert code_of(lambda: ledger.reserve(region, release_of(region), two)) == "roster-too-small"
    four = replace(admit(1, "popularity"), sharers=NORTH, honest=5)
    assert code_of(lambda: ledger.reserve(plan, release_of(plan), four)) == "roster-too-small"


def test_an_entry_that_is_added_in_a_window_waits_for_the_next(
    plan: Plan,
    region: Plan,
    policy: SitePolicy,
    agreed: SitePolicy,
    key: SigningKey,
    tmp_path: Path,
    admit: Callable[..., Admission],
) -> None:
    path = tmp_path / "other.sqlite"
    before = Ledger.create(path, key, "site-1", policy)
    before.reserve(plan, release_of(plan), admit(1, "popularity"))
    before.close()
    after = Ledger.open(path, key, agreed)
    own = in_region(admit(2, "popularity"))
    assert code_of(lambda: after.reserve(region, release_of(region), own)) == "n-min-too-small"
    after.close()
