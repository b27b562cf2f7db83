"""The site's rules: each thing that a coordinator could widen is refused, with its own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groundswell.client.policy import MenuEntry, SitePolicy, check_delta
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.scaling import scale

Change = Callable[[Plan], Plan]


def changed(**fields: Any) -> Change:
    """A plan with other fields of its own."""
    return lambda plan: plan.model_copy(update=fields)


def with_release(changed_kind: str, **fields: Any) -> Change:
    """A plan with other fields of one of its releases, and the scale that follows from them."""

    def change(plan: Plan) -> Plan:
        releases = []
        for release in plan.releases:
            if release.kind == changed_kind:
                release = release.model_copy(update=fields)
                if "scale" not in fields:
                    fitting = scale(release.noise_multiplier, release.max_nonzero)
                    release = release.model_copy(update={"scale": fitting})
            releases.append(release)
        return plan.model_copy(update={"releases": tuple(releases)})

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "lowered sigma": (with_release("gradient", noise_multiplier=1.0), "sigma-too-small"),
    "slightly lowered sigma": (
        with_release("popularity", noise_multiplier=1.308),
        "sigma-too-small",
    ),
    "raised q": (with_release("gradient", sampling_rate=0.51), "rate-too-large"),
    "raised C": (with_release("gradient", clip_norm=2.01), "clip-too-large"),
    "raised k": (changed(examples_per_user=3), "examples-too-many"),
    "shrunk n_min": (changed(n_min=5), "n-min-too-small"),
    "no colluders": (changed(colluders=0), "colluders-too-few"),
    "more colluders at the same n_min": (changed(colluders=2), "n-min-too-small"),
    "another delta": (changed(delta=1e-5), "delta-changed"),
    "another backbone": (changed(backbone_hash="bb" * 32), "unknown-backbone"),
    "another scale": (with_release("gradient", scale=2**20), "scale-changed"),
    "another kind": (with_release("gradient", kind="hazard"), "unknown-kind"),
}
REFUSED_AS_A_PLAN: dict[str, tuple[Change, str]] = {
    "more rounds": (with_release("gradient", count=7), "over-budget"),
    "more retries": (with_release("gradient", retries=2), "retries-too-many"),
    "more statistics": (with_release("popularity", count=3), "over-budget"),
    "a second evaluation": (with_release("evaluation", retries=1), "over-budget"),
    "caps below its own price": (changed(eps_c=1.0), "plan-overspends"),
}


def test_a_plan_that_leaves_less_time_than_the_site_needs_is_refused(
    plan: Plan, policy: SitePolicy
) -> None:
    slow = policy.model_copy(update={"least_seconds_per_slot": 20.0})
    assert code_of(lambda: slow.accept_plan(changed(seconds_per_slot=19.9)(plan))) == (
        "slot-too-short"
    )
    slow.accept_plan(changed(seconds_per_slot=20.0)(plan))


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refusal:
        act()
    assert len(refusal.value.rule) > 10
    return refusal.value.code


def test_a_plan_within_the_menu_is_accepted_with_its_price(plan: Plan, policy: SitePolicy) -> None:
    price = policy.accept_plan(plan)
    assert 2.99 < price.eps_c <= 3.0
    assert 6.0 < price.eps_l <= 8.0
    for release in plan.releases:
        (position,) = policy.authorise(release, plan)
        assert policy.menu[position].kind == release.kind


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_AS_A_PLAN])
def test_a_wider_plan_is_refused(name: str, plan: Plan, policy: SitePolicy) -> None:
    change, code = (REFUSED | REFUSED_AS_A_PLAN)[name]
    assert code_of(lambda: policy.accept_plan(change(plan))) == code


@pytest.mark.parametrize("name", REFUSED)
def test_a_wider_event_is_refused_too(name: str, plan: Plan, policy: SitePolicy) -> None:
    """Each event is checked again, should a wider plan ever get past the door."""
    change, code = REFUSED[name]
    wider = change(plan)
    (release,) = [
        found
        for found, before in zip(wider.releases, plan.releases, strict=True)
        if found != before
    ] or [wider.releases[1]]
    assert code_of(lambda: policy.authorise(release, wider)) == code


def test_a_delta_above_a_tenth_of_one_of_the_sites_users_is_refused(plan: Plan) -> None:
    most = int(1 / (10 * plan.delta))
    check_delta(plan, most)
    assert code_of(lambda: check_delta(plan, most + 1)) == "delta-too-large"


def test_an_unknown_catalogue_is_refused(plan: Plan, policy: SitePolicy) -> None:
    other = plan.catalogues[0].model_copy(update={"hash": "cc" * 32})
    wider = plan.model_copy(update={"catalogues": (*plan.catalogues, other)})
    assert code_of(lambda: policy.accept_plan(wider)) == "unknown-catalogue"


def test_an_event_that_differs_from_the_accepted_plan_is_refused(
    plan: Plan, policy: SitePolicy
) -> None:
    """Even one that is more private: what was accepted is what runs."""
    release = plan.releases[1]
    quieter = release.model_copy(update={"noise_multiplier": release.noise_multiplier * 2})
    assert code_of(lambda: policy.authorise(quieter, plan)) == "plan-changed"


def test_a_more_private_plan_is_accepted(plan: Plan, policy: SitePolicy) -> None:
    wider_noise = with_release("gradient", noise_multiplier=20.0, sampling_rate=0.25)(plan)
    price = policy.accept_plan(wider_noise)
    assert price.eps_c < policy.accept_plan(plan).eps_c


def test_what_the_window_has_used_counts(plan: Plan, policy: SitePolicy) -> None:
    policy.accept_plan(plan, used={"gradient": 0})
    refused = code_of(lambda: policy.accept_plan(plan, used={"gradient": 1}))
    assert refused == "over-budget"


def test_a_menu_above_a_cap_is_refused_as_a_whole(plan: Plan, policy: SitePolicy) -> None:
    for cap in ({"eps_c": 2.9}, {"eps_l": 7.0}):
        tighter = policy.model_copy(update=cap)
        with pytest.raises(Refusal, match="over-budget: the menu as a whole"):
            tighter.accept_plan(plan)


def test_one_cap_alone_is_enough(plan: Plan, policy: SitePolicy) -> None:
    price = policy.accept_plan(plan)
    for left_out in ("eps_l", "eps_c"):
        assert policy.model_copy(update={left_out: None}).accept_plan(plan) == price


def test_retries_are_part_of_the_menu_price(plan: Plan, policy: SitePolicy) -> None:
    without = tuple(
        entry.model_copy(update={"count": 6}) if entry.kind == "gradient" else entry
        for entry in policy.menu
    )
    fewer = policy.model_copy(update={"menu": without})
    assert fewer.price().eps_c < policy.price().eps_c
    assert code_of(lambda: fewer.accept_plan(plan)) == "over-budget"


def test_explicit_acceptance_wants_the_hash(plan: Plan, policy: SitePolicy) -> None:
    explicit = policy.model_copy(update={"acceptance": "explicit"})
    assert code_of(lambda: explicit.accept_plan(plan)) == "plan-not-accepted"
    assert code_of(lambda: explicit.authorise(plan.releases[0], plan)) == "plan-not-accepted"
    named = explicit.model_copy(update={"accepted_plans": (plan.hash().hex(),)})
    named.accept_plan(plan)
    longer = plan.model_copy(update={"seconds_per_slot": 1.0})
    assert code_of(lambda: named.accept_plan(longer)) == "plan-not-accepted"


def test_an_event_uses_the_cheapest_entry_that_dominates_it(plan: Plan, policy: SitePolicy) -> None:
    gradient = plan.releases[1]
    dearer = MenuEntry(kind="gradient", sigma_min=0.5, q_max=1.0, count=1)
    exact = MenuEntry(
        kind="gradient", sigma_min=gradient.noise_multiplier, q_max=gradient.sampling_rate, count=1
    )
    tight = MenuEntry(kind="gradient", sigma_min=1e3, q_max=1.0, count=1)
    several = policy.model_copy(update={"menu": (dearer, tight, exact)})
    assert several.entries_for(gradient, plan) == (2, 0)


def test_a_refused_event_names_the_rule_for_the_log(plan: Plan, policy: SitePolicy) -> None:
    with pytest.raises(Refusal, match="is below the site's"):
        policy.accept_plan(with_release("gradient", noise_multiplier=1.0)(plan))


TOML = """
[policy]
eps_c = 3.0
eps_l = 8.0
delta = 1e-6
largest_clip_norm = 2.0
largest_examples_per_user = 1
n_min = 6
least_roster = 6
colluders = 1
backbone_hashes = ["{b}"]
catalogue_hashes = ["{c}"]
[[policy.menu]]
kind = "gradient"
sigma_min = 5.2
q_max = 0.5
count = 44
"""


def test_a_policy_is_read_from_site_toml(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(TOML.format(b="b0" * 32, c="c0" * 32), encoding="utf-8")
    policy = SitePolicy.load(path)
    assert policy.menu == (MenuEntry(kind="gradient", sigma_min=5.2, q_max=0.5, count=44),)
    assert policy.honest == 5
    assert policy.check_menu().eps_c < 3.0


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("sigma_min = 5.2", "sigma_min = -1", "policy.menu.0.sigma_min"),
        ("q_max = 0.5", "q_max = 1.5", "policy.menu.0.q_max"),
        ("delta = 1e-6", "delta = 0.1", "policy.delta"),
        ("n_min = 6", "n_mim = 6", "policy.n_min"),
        ("colluders = 1", "colluders = 6", "policy"),
        ("[policy]", "[rules]", "policy.delta"),
        ("count = 44", "count = ", "site.toml"),
    ],
)
def test_a_bad_policy_file_names_key_and_rule(
    before: str, after: str, key: str, tmp_path: Path
) -> None:
    path = tmp_path / "site.toml"
    text = TOML.format(b="b0" * 32, c="c0" * 32).replace(before, after, 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        SitePolicy.load(path)
    assert error.value.key == key


def test_a_missing_policy_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        SitePolicy.load(tmp_path / "site.toml")


def test_a_file_without_the_table_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[site]\nname = 'north'\n", encoding="utf-8")
    with pytest.raises(InputError, match="no table"):
        SitePolicy.load(path)


def test_release_scale_follows_from_its_noise(plan: Plan, policy: SitePolicy) -> None:
    """No scale in the allowed range is refused, not passed through."""
    release: PlannedRelease = plan.releases[2].model_copy(update={"noise_multiplier": 1e6})
    assert code_of(lambda: policy.entries_for(release, plan)) == "scale-changed"
